"""Summaries: a network's layers with their shapes, parameters, mult-adds, memory and time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minidl import nn
from minidl.analysis.timing import layer_seconds
from minidl.analysis.trace import Run, kept_bytes, trace
from minidl.checks import is_whole, positive
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.models import Network
from minidl.models.imported import Imported
from minidl.nn import Module
from minidl.text import html_table, html_text, table

__all__ = ["Row", "Summary", "example", "summary", "title"]

FAMILIES = ("convolution", "linear", "normalization", "pooling")
IMAGE_LAYERS = nn.Conv2d | nn.ConvTranspose2d | nn.DepthwiseConv2d | nn.BatchNorm2d


@dataclass(frozen=True)
class Row:
    """A layer, or a block with all its layers.

    depth: 1 for the model's own parts, 2 for theirs.  output_shape: with the batch axis.
    mult_adds: of convolutions, linear layers and matrix products.  activation_bytes: of outputs.
    training_bytes: what the tape keeps for the backward pass; None where training can't be tried.
    seconds: of a forward pass in evaluation mode, as the model runs when it is called; None for a
    layer that runs as one op with the one before it, whose seconds hold both.
    family: "block", or that of the layer's class: "convolution".
    """

    name: str
    kind: str
    depth: int
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int
    mult_adds: int
    activation_bytes: int
    training_bytes: int | None
    seconds: float | None
    family: str


class Summary:
    """What `md.summary` found. Printed, it is a table, and so it is in a notebook.

    rows: one for each layer, in the order they ran.  blocks: one for each block, with the sums of
    its layers.  total: of the whole model.
    """

    def __init__(
        self,
        title: str,
        parts: list[Row],
        input_shape: tuple[int, ...],
        depth: int | None = None,
    ) -> None:
        self.title, self.input_shape, self.depth = title, input_shape, depth
        self.total, *within = parts
        self._parts = within or parts  # layers and blocks as they ran; a layer alone is its part
        self.rows = [row for row in self._parts if row.family != "block"]
        self.blocks = [row for row in self._parts if row.family == "block"]

    def families(self) -> dict[str, dict[str, float]]:
        """Return the shares, from 0 to 1, that each kind of layer has.

        They are of the parameters, activations, mult-adds and time.
        """
        columns = ("parameters", "activation_bytes", "mult_adds", "seconds")
        sums = {name: dict.fromkeys(columns, 0.0) for name in FAMILIES}
        sums["other"] = {column: float(getattr(self.total, column)) for column in columns}
        for row in self.rows:
            if row.family in FAMILIES:
                for column in columns:
                    amount = getattr(row, column) or 0.0
                    sums[row.family][column] += amount
                    sums["other"][column] -= amount
        return {
            family: {c: max(0.0, part[c]) / (getattr(self.total, c) or 1) for c in columns}
            for family, part in sums.items()
        }

    def __str__(self) -> str:
        layers, shares = self._tables()
        parts = [self._headline(), table(layers, rules=(1, -1)), table(shares, rules=(1,))]
        return "\n\n".join([*parts, "\n".join(self._notes())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        tables = map(html_table, self._tables())
        return "\n".join([html_text(self._headline()), *tables, *map(html_text, self._notes())])

    def _headline(self) -> str:
        return (
            f"{self.title} on an input of {_shape(self.input_shape)}; "
            f"{self.total.trainable:,} of {self.total.parameters:,} parameters are trained"
        )

    def _tables(self) -> list[list[tuple[str, ...]]]:
        """Return the rows of the table of layers, and of that of shares."""
        deepest = self.depth or max(row.depth for row in self._parts)
        shown = [row for row in self._parts if row.depth <= deepest]
        heads = ("layer", "output", "parameters", "mult-adds", "activations", "training", "time")
        seconds = self.total.seconds or 0.0
        cells = [_cells(row, self._label(row), seconds) for row in shown]
        layers = [heads, *cells, _cells(self.total, "total", seconds)]
        kinds = ("share of", "parameters", "activations", "mult-adds", "time")
        shares = [
            (n, *(f"{share:.1%}" for share in s.values())) for n, s in self.families().items()
        ]
        return [layers, [kinds, *shares]]

    def _label(self, row: Row) -> str:
        """Return a row's name within the block that holds it, and its class, indented."""
        holders = [b.name for b in self.blocks if row.name.startswith(f"{b.name}.")]
        name = row.name.removeprefix(f"{max(holders, key=len)}.") if holders else row.name
        return "  " * (row.depth - 1) + f"{name} {row.kind}".strip()

    def _notes(self) -> list[str]:
        milliseconds = 1e3 * (self.total.seconds or 0.0)
        return [
            "mult-adds: of convolutions and matrix products. activations: outputs, in bytes.",
            "training: bytes kept for the backward pass.",
            f"time: of the {milliseconds:.1f} ms of a forward pass here, of the model "
            "as it is called, not compiled;",
            "fused: in the time of the layer above, with which it runs as one op.",
        ]


def summary(
    model: Module, input_shape: Sequence[int] | None = None, depth: int | None = None
) -> Summary:
    """Run `model` on zeros and tell what each layer and block of it does; see Summary.

    input_shape: with the batch axis, such as (N, H, W, C), or one image's (H, W, C) or one row's
        (F,); left out, the shape that a network of `minidl.models` was made for.
    depth: print blocks up to this depth only, each with the sum of its layers.
    The model is left as it was. Raises DTypeError for what is no module,
    ArgumentError for a bad shape or depth, and what the model raises for a shape that it doesn't
    take.
    """
    if not isinstance(model, Module):
        raise DTypeError(f"summary expected a module first, got {type(model).__name__}")
    if depth is not None:
        depth = positive("summary", "depth", depth)
    x = example(model, input_shape)
    runs, _ = trace(model, x)
    seconds = layer_seconds(model, x)
    kept: list[int | None]
    try:
        kept = [*_with_parts(runs, kept_bytes(model, x))]
    except ShapeError:  # such as a batch normalisation of one value a channel
        kept = [None] * len(runs)
    counts = _new_parameters(runs)
    parameters = _with_parts(runs, [total for total, _ in counts])
    trainable = _with_parts(runs, [trained for _, trained in counts])
    columns = zip(runs, parameters, trainable, kept, seconds, strict=True)
    rows = [_row(*column) for column in columns]
    return Summary(title(model), rows, x.shape, depth)


def title(model: Module) -> str:
    """Return what the model is called: its name among `minidl.models`, or that of its class."""
    return model.title if isinstance(model, Network) else type(model).__name__


def example(model: Module, input_shape: Sequence[int] | None = None) -> np.ndarray:
    """Zeros that `model` takes, of an input shape as `summary` takes it."""
    layers = [module for module in model.modules() if next(module.children(), None) is None]
    first = next((layer for layer in layers if isinstance(layer, IMAGE_LAYERS)), None)
    if isinstance(model, Imported) and len(model.inputs) > 1:
        raise ArgumentError(
            f"summary runs networks of one input, and {model.title} takes {len(model.inputs)}: "
            f"{', '.join(port.name for port in model.inputs)}"
        )
    if input_shape is None:
        if not isinstance(model, Network) or not model.input_shape:
            raise ArgumentError(
                "summary: give an input_shape, such as (1, 224, 224, 3): "
                f"{title(model)} doesn't tell its own"
            )
        input_shape = (1, *model.input_shape)
    shape = tuple(input_shape) if isinstance(input_shape, Sequence) else ()
    if not shape or not all(is_whole(n) and n > 0 for n in shape):
        raise ArgumentError(
            f"summary: input_shape must be whole numbers from 1 up, such as (1, 224, 224, 3), got "
            f"{input_shape!r}"
        )
    if len(shape) == (3 if first is not None else 1):
        shape = (1, *shape)
    parameter = next(model.parameters(), None)
    dtype = np.dtype(np.float32) if parameter is None else parameter.dtype
    embeds = bool(layers) and isinstance(layers[0], nn.Embedding)
    return np.zeros(shape, np.int64 if embeds else dtype)


def _with_parts(runs: list[Run], own: list[int]) -> Iterator[int]:
    """For each run its own bytes and those of the runs within it."""
    for i, run in enumerate(runs):
        total, j = own[i], i + 1
        while j < len(runs) and runs[j].depth > run.depth:
            total += own[j]
            j += 1
        yield total


def _new_parameters(runs: list[Run]) -> list[tuple[int, int]]:
    """For each run how many of its own parameters no run before it has, and how many of them are
    trained."""
    seen: set[int] = set()
    counts = []
    for run in runs:
        own = [p for p in vars(run.module).values() if isinstance(p, nn.Parameter)]
        new = {id(p): p for p in own if id(p) not in seen}
        seen |= new.keys()
        sizes = [(p.size, p.requires_grad) for p in new.values()]
        counts.append((sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)))
    return counts


def _row(run: Run, parameters: int, trainable: int, kept: int | None, seconds: float | None) -> Row:
    return Row(
        run.name,
        type(run.module).__name__,
        run.depth,
        run.shape,
        parameters,
        trainable,
        run.mult_adds,
        run.activation_bytes,
        kept,
        seconds,
        _family(run.module),
    )


def _family(module: Module) -> str:
    if next(module.children(), None) is not None:
        return "block"
    return module.family


def _cells(row: Row, label: str, whole: float) -> tuple[str, ...]:
    return (
        label,
        _shape(row.output_shape[1:]),
        f"{row.parameters:,}",
        f"{row.mult_adds:,}",
        _bytes(row.activation_bytes),
        "-" if row.training_bytes is None else _bytes(row.training_bytes),
        "fused" if row.seconds is None else f"{row.seconds / whole:.1%}",
    )


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def _bytes(count: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}B"
    return f"{count} B"
