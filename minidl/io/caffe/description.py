"""Which layers a network has, and what it takes, when it is tested."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from minidl.errors import FileFormatError
from minidl.io.caffe.message import Message

__all__ = ["Described", "Layer", "described"]

MOST_LAYERS = 10_000
MOST_AXES = 8
LONGEST = 2**20  # length of an axis
DATA = {
    "AnnotatedData", "Data", "DummyData", "HDF5Data", "ImageData", "Input", "MemoryData",
    "WindowData",
}  # fmt: skip
UNUSED = {  # what training and testing need besides, and what has no output
    "Accuracy", "ContrastiveLoss", "EuclideanLoss", "HDF5Output", "HingeLoss", "InfogainLoss",
    "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "Silence", "SoftmaxWithLoss",
}  # fmt: skip
LEARNED = {"BatchNorm", "Bias", "Convolution", "Deconvolution", "InnerProduct", "PReLU", "Scale"}
# Names of types in files of before 2014, by their numbers
OLD_TYPES = [
    "NONE", "ACCURACY", "BNLL", "CONCAT", "CONVOLUTION", "DATA", "DROPOUT", "EUCLIDEAN_LOSS",
    "FLATTEN", "HDF5_DATA", "HDF5_OUTPUT", "IM2COL", "IMAGE_DATA", "INFOGAIN_LOSS",
    "INNER_PRODUCT", "LRN", "MULTINOMIAL_LOGISTIC_LOSS", "POOLING", "RELU", "SIGMOID", "SOFTMAX",
    "SOFTMAX_LOSS", "SPLIT", "TANH", "WINDOW_DATA", "ELTWISE", "POWER",
    "SIGMOID_CROSS_ENTROPY_LOSS", "HINGE_LOSS", "MEMORY_DATA", "ARGMAX", "THRESHOLD", "DUMMY_DATA",
    "SLICE", "MVN", "ABSVAL", "SILENCE", "CONTRASTIVE_LOSS", "EXP", "DECONVOLUTION",
]  # fmt: skip
NEW_NAMES = {
    "ABSVAL": "AbsVal", "ARGMAX": "ArgMax", "BNLL": "BNLL", "ELTWISE": "Eltwise", "LRN": "LRN",
    "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output", "MVN": "MVN", "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss", "TANH": "TanH", "ARG_MAX": "ArgMax",
}  # fmt: skip


@dataclass
class Layer:
    """One layer. tops may be the same as bottoms: it then works in place."""

    name: str
    type: str
    bottoms: list[str]
    tops: list[str]
    message: Message

    @property
    def where(self) -> str:
        return self.message.where


@dataclass
class Described:
    """A network. inputs: their shapes as Caffe has them, without the batch; None if not known."""

    name: str
    inputs: dict[str, tuple[int | None, ...] | None]
    layers: list[Layer]
    outputs: list[str] = field(default_factory=list)


def described(net: Message) -> Described:
    """Return the network that a message describes, in the phase TEST.

    Raises FileFormatError for what describes none.
    """
    found = Described(net.text("name"), _inputs(net), [])
    messages = net.messages("layer") + net.messages("layers")
    if not messages:
        raise net.refuse("expected a network of Caffe's, found no layer in it")
    if len(messages) > MOST_LAYERS:
        raise net.refuse(f"more than {MOST_LAYERS:,} layers")
    data: dict[str, Any] = {}  # shapes of what data layers give, also of those left out
    for message in messages:
        layer = _layer(message)
        if layer.type in DATA:
            shapes = _data_shapes(layer)
            kept = _is_kept(message)
            data |= {top: s for top, s in shapes.items() if kept or top not in data}
        elif layer.type not in UNUSED and _is_kept(message):
            found.layers.append(layer)
    _connect(found, data)
    if not found.layers or not found.inputs:
        what = "takes nothing" if found.layers else "has no layer that computes"
        raise net.refuse(f"in the phase TEST the network {what}")
    return found


def _layer(message: Message) -> Layer:
    if message.has("layer"):
        raise message.refuse(
            "a layer of the form of 2013: Caffe's tool upgrade_net_proto_text writes it anew"
        )
    name = message.text("name")
    type_ = message.choice("type", *OLD_TYPES) if _is_number(message) else message.text("type")
    old = str(type_) in OLD_TYPES
    new = NEW_NAMES.get(type_, "".join(p.capitalize() for p in type_.split("_"))) if old else type_
    message.where += f" {name!r:.80} ({new:.40})"
    if not name or not new:
        raise message.refuse("a layer needs a name and a type")
    return Layer(name, new, message.texts("bottom"), message.texts("top"), message)


def _is_number(message: Message) -> bool:
    return bool(message.all("type")) and isinstance(message.all("type")[-1], int)


# Phases


def _is_kept(message: Message) -> bool:
    """Return whether a layer is part of the network in the phase TEST."""
    include, exclude = message.messages("include"), message.messages("exclude")
    if include and exclude:
        raise message.refuse("a layer has rules to include it or to exclude it, not both")
    if include:
        return any(map(_applies, include))
    return not any(map(_applies, exclude))


def _applies(rule: Message) -> bool:
    """Return whether a rule is met in the phase TEST, at level 0 and in no stage."""
    return (
        (not rule.has("phase") or rule.choice("phase", "TRAIN", "TEST") == "TEST")
        and rule.whole("min_level", 0, -(2**31)) <= 0
        and rule.whole("max_level", 0, -(2**31)) >= 0
        and not rule.has("stage")
    )


# Inputs


def _inputs(net: Message) -> dict[str, tuple[int | None, ...] | None]:
    """Return the inputs that stand before the layers, `input: "data"`, with their shapes."""
    names = net.texts("input")
    dims, shapes = net.wholes("input_dim", 0, LONGEST), net.messages("input_shape")
    if dims and len(dims) != 4 * len(names):
        raise net.refuse(f"{len(names)} inputs need {4 * len(names)} input_dim, found {len(dims)}")
    if shapes and len(shapes) != len(names):
        raise net.refuse(f"{len(names)} inputs and {len(shapes)} input_shape")
    if dims:
        return {name: tuple(dims[4 * i + 1 : 4 * i + 4]) for i, name in enumerate(names)}
    return {name: _shape(shapes[i]) if shapes else None for i, name in enumerate(names)}


def _shape(shape: Message) -> tuple[int, ...]:
    """Return a BlobShape without its batch."""
    dims = shape.wholes("dim", 0, LONGEST)
    if not 1 < len(dims) <= MOST_AXES:
        raise shape.refuse(f"a shape must have from 2 to {MOST_AXES} axes, got {dims!r:.60}")
    return tuple(dims[1:])


def _data_shapes(layer: Layer) -> dict[str, Any]:
    """Return what is known of the shapes of a data layer's tops: (C, H, W), or None."""
    message = layer.message
    given: list[Any] = []
    for name in ("input_param", "dummy_data_param"):
        given += [_shape(shape) for shape in message.message(name).messages("shape")]
    memory = message.message("memory_data_param")
    if memory.has("channels"):
        given.append(tuple(memory.whole(n, 1, 1, LONGEST) for n in ("channels", "height", "width")))
    crop = message.message("transform_param").whole("crop_size", 0, 0, LONGEST)
    if not given and crop:
        given.append((None, crop, crop))
    given = given * len(layer.tops) if len(given) == 1 else given
    return {top: given[i] if i < len(given) else None for i, top in enumerate(layer.tops)}


def _connect(found: Described, data: dict[str, Any]) -> None:
    """Find out what is taken from outside, and what is given: what no layer takes.

    Of a network as it was trained, what only labels lead to is left out.
    """
    _drop_copies(found.layers)
    learned, unread = _followed(found.layers)
    found.outputs = [name for name in unread if name in learned] or list(unread)
    needed: set[str] = set(found.outputs)
    made: set[str] = set()
    kept = []
    for layer in reversed(found.layers):
        if needed & set(layer.tops):
            needed = (needed - set(layer.tops)) | set(layer.bottoms)
            kept.append(layer)
    found.layers = kept[::-1]
    inputs: dict[str, Any] = {}
    for layer in found.layers:
        for bottom in layer.bottoms:
            if bottom not in made and bottom not in inputs:
                if bottom not in found.inputs and bottom not in data:
                    raise FileFormatError(f"{layer.where}: nothing before it gives {bottom!r:.80}")
                inputs[bottom] = found.inputs.get(bottom, data.get(bottom))
        made.update(layer.tops)
    found.inputs = inputs


def _drop_copies(layers: list[Layer]) -> None:
    """Leave out the copies that Caffe made for losses, which are left out themselves."""
    read: Counter[str] = Counter(name for layer in layers for name in layer.bottoms)
    for layer in reversed(list(layers)):
        if layer.type == "Split":
            layer.tops = [top for top in layer.tops if read[top]]
            if not layer.tops:
                layers.remove(layer)
                read.subtract(layer.bottoms)


def _followed(layers: list[Layer]) -> tuple[set[str], dict[str, None]]:
    """Return what layers with weights lead to, and, in order, what no layer takes."""
    learned: set[str] = set()
    unread: dict[str, None] = {}
    for layer in layers:
        for bottom in layer.bottoms:
            unread.pop(bottom, None)
        follows = layer.type in LEARNED or not learned.isdisjoint(layer.bottoms)
        for top in layer.tops:
            unread[top] = None
            (learned.add if follows else learned.discard)(top)
    return learned, unread
