"""The table of ONNX's operators: what minidl does for each, and what of it it knows."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NoReturn

from minidl.errors import FileFormatError
from minidl.io.onnx.messages import DEFAULT_DOMAINS, Node
from minidl.io.onnx.values import MOST_NUMBERS

__all__ = ["OPERATORS", "Attribute", "Call", "Operator", "check_node", "operator", "required"]

LEAST_OPSET = 6  # 7 but for attributes that are refused
MISSING: Any = object()


@dataclass(frozen=True)
class Attribute:
    """An attribute of an operator: its kind in the file, its default and the values known."""

    kind: str
    default: Any = MISSING
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Call:
    """A node, as its function sees it. opset: the version of the operators that it means.

    outputs: the names of what is used of its outputs, "" where one isn't.  most: how many numbers
    an array that it makes may have.
    """

    op: str
    where: str
    opset: int
    outputs: tuple[str, ...]
    most: int = MOST_NUMBERS

    def refuse(self, reason: str) -> NoReturn:
        """Raise FileFormatError, which names operator and node."""
        raise FileFormatError(f"ONNX operator {self.op}, {self.where}: {reason}")

    def check_size(self, shape: Iterable[int]) -> None:
        """Refuse arrays that are too large before memory is taken."""
        shape = list(shape)
        if any(n < 0 for n in shape) or math.prod(shape) > self.most:
            self.refuse(f"an array of shape {shape!r:.80} is too large, or makes no sense")


@dataclass(frozen=True)
class Operator:
    """run: from a Call, Values and attributes to a Value or several.

    settings: the inputs that are read while the graph runs, such as axes; the others are numbers
        that it computes with.  folds: whether it is computed when the file is read, where all of
        its inputs are known then.  needed, most: how many inputs it must have, and may have, None
        being any number.
    """

    run: Callable[..., Any]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    settings: tuple[int, ...] = ()
    folds: bool = True
    needed: int = 0
    most: int | None = None


# What opset 6 says and 7 means without saying it
EARLIER: list[list[Any]] = [["is_test", 1], ["broadcast", 1], ["broadcast", 0]]

OPERATORS: dict[str, Operator] = {}

# Operators that minidl doesn't have, and why or what is near.
REFUSED = {
    **dict.fromkeys(
        ("If", "Loop", "Scan"),
        "control flow: minidl runs graphs whose nodes run once; export the model with the "
        "condition or length fixed",
    ),
    **dict.fromkeys(
        (
            "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv",
            "QLinearMatMul", "ConvInteger", "MatMulInteger",
        ),
        "a quantized graph of 8-bit integers: minidl computes with floats; take the model as it "
        "was before it was quantized",
    ),
}  # fmt: skip

NEAREST = {
    "CenterCropPad": "Slice and Pad", "DeformConv": "Conv", "GridSample": "Resize",
    "MaxUnpool": "Resize", "STFT": "Conv", "DFT": "MatMul", "Attention": "MatMul and Softmax",
    "MaxRoiPool": "RoiAlign", "BitwiseNot": "Not", "Scatter": "ScatterElements",
}  # fmt: skip


def required(kind: str, *choices: Any) -> Attribute:
    """An attribute that every node must have."""
    return Attribute(kind, MISSING, choices)


def operator(
    *names: str, settings: tuple[int, ...] = (), folds: bool = True, **attributes: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: enter a function into the table under the names of ONNX's operators.

    attributes: those that the function knows, each an Attribute or its default; a list is of the
    values that are known, the first being the default.
    """

    def entered(run: Callable[..., Any]) -> Callable[..., Any]:
        known = {name: _attribute(value) for name, value in attributes.items()}
        for name in names:
            OPERATORS[name] = Operator(run, known, settings, folds, *_inputs(run))
        return run

    return entered


def _inputs(run: Callable[..., Any]) -> tuple[int, int | None]:
    """Return how many inputs a function needs and may have, by its signature."""
    parameters = list(inspect.signature(run).parameters.values())[1:]
    placed = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    any_number = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    needed = sum(p.default is p.empty for p in placed) + any_number
    return needed, None if any_number else len(placed)


def _attribute(value: Any) -> Attribute:
    if isinstance(value, Attribute):
        return value
    if isinstance(value, list):
        return Attribute(_kind(value[0]), value[0], tuple(value))
    return Attribute(_kind(value), value)


def _kind(value: Any) -> str:
    kinds = {int: "int", float: "float", str: "string", tuple: "ints"}
    return kinds[type(value)]


def check_node(node: Node, opset: int, where: str) -> tuple[Operator, Call, dict[str, Any]]:
    """Return what runs a node, and its attributes, or a FileFormatError that says what is unknown.

    where: the file.
    """
    call = Call(node.op[:80], f"{node.where} in {where}", opset, node.outputs)
    if node.domain not in DEFAULT_DOMAINS:
        call.refuse(
            f"it is of the domain {node.domain!r:.80}; minidl knows ONNX's own operators alone"
        )
    if opset < LEAST_OPSET:
        call.refuse(
            f"the file is of opset {opset}, and minidl reads 7 and later ones: "
            "onnx.version_converter.convert_version(model, 7) makes one"
        )
    if node.op in REFUSED:
        call.refuse(REFUSED[node.op])
    if node.op not in OPERATORS:
        near = NEAREST.get(node.op) or ", ".join(get_close_matches(node.op, OPERATORS, n=2))
        nearest = f"; the nearest that it has is {near}" if near else ", nor one of a similar name"
        call.refuse(f"minidl doesn't have it{nearest}")
    found = OPERATORS[node.op]
    count = len(node.inputs)
    absent = "" in (node.inputs if found.most is None else node.inputs[: found.needed])
    if count < found.needed or absent:
        call.refuse(f"it needs {found.needed} inputs, and has {', '.join(node.inputs) or 'none'}")
    if found.most is not None and count > found.most:
        call.refuse(f"it has {count} inputs; minidl knows {found.most}")
    return found, call, _attributes(found, call, node)


def _attributes(found: Operator, call: Call, node: Node) -> dict[str, Any]:
    values = {name: known.default for name, known in found.attributes.items()}
    for name, (kind, value) in node.attributes.items():
        if call.opset == LEAST_OPSET and [name, value] in EARLIER:
            continue
        if name not in found.attributes:
            known = ", ".join(found.attributes) or "none"
            call.refuse(f"its attribute {name!r:.80} isn't known; known are {known}")
        known_attribute = found.attributes[name]
        if kind != known_attribute.kind or value is None:
            call.refuse(
                f"its attribute {name!r:.80} should be of kind {known_attribute.kind}, not {kind}"
            )
        if known_attribute.choices and value not in known_attribute.choices:
            choices = ", ".join(map(repr, known_attribute.choices))
            call.refuse(f"its attribute {name} is {value!r:.80}; minidl knows {choices}")
        values[name] = tuple(value) if isinstance(value, list) else value
    missing = [name for name, value in values.items() if value is MISSING]
    if missing:
        call.refuse(f"it lacks the attribute {', '.join(missing)}")
    return values
