"""The module that runs a network of Caffe's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minidl.errors import ShapeError
from minidl.io.onnx.graph import Port
from minidl.nn import Module

__all__ = ["CaffeGraph", "Step"]


@dataclass(frozen=True)
class Step:
    """One layer within a graph: the name of its module there, what it takes and gives.

    prepare: what is done to its input first, such as flattening images in Caffe's order.
    finished: what no later step needs.
    """

    module: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    prepare: Callable[[Any], Any] | None = None
    finished: tuple[str, ...] = ()


class CaffeGraph(Module):
    """Layers of a network of Caffe's, each a module with the layer's name.

    Images come and go as (N, H, W, C); `inputs` and `outputs` tell what there is.
    """

    def __init__(
        self,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        steps: Sequence[Step],
        modules: dict[str, Module],
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.steps = _with_ends(steps, [port.name for port in outputs])
        for step in steps:
            setattr(self, step.module, modules[step.module])

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape of one example, such as (H, W, C), if the file tells all of it."""
        shape = self.inputs[0].shape if len(self.inputs) == 1 else None
        if shape is None or None in shape[1:]:
            return None
        return shape[1:]  # type: ignore[return-value]

    def forward(self, *inputs: Any) -> Any:
        if len(inputs) != len(self.inputs):
            names = ", ".join(port.name for port in self.inputs)
            raise ShapeError(
                f"this network takes {len(self.inputs)} inputs, {names}, got {len(inputs)}"
            )
        values = {port.name: x for port, x in zip(self.inputs, inputs, strict=True)}
        for step in self.steps:
            given = [values[name] for name in step.bottoms]
            if step.prepare is not None:
                given = [step.prepare(x) for x in given]
            found = getattr(self, step.module)(*given)
            made = found if isinstance(found, tuple | list) else (found,)
            values.update(zip(step.tops, made, strict=True))
            for name in step.finished:
                values.pop(name, None)
        outputs = tuple(values[port.name] for port in self.outputs)
        return outputs[0] if len(outputs) == 1 else outputs


def _with_ends(steps: Sequence[Step], outputs: Sequence[str]) -> tuple[Step, ...]:
    """Note after which step a value isn't needed any more."""
    later, found = set(outputs), []
    for step in reversed(steps):
        ends = tuple(sorted({*step.bottoms, *step.tops} - later))
        found.append(Step(step.module, step.bottoms, step.tops, step.prepare, ends))
        later = (later - set(step.tops)) | set(step.bottoms)
    return tuple(reversed(found))
