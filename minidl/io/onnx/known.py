"""What is known of values before a graph runs: which are images, and of which shape.

An image map (N, C, H, W) is stored channels last. Two maps with the same `size` have the same
height and width, whatever the input's are.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from minidl.io.onnx.messages import Graph, Node

__all__ = ["ELEMENTWISE", "SPATIAL", "Image", "image_inputs", "image_of", "is_view_of_images"]

# Operators whose output has the axes of their first input, or of all of them together
ELEMENTWISE = {
    "Abs", "Add", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip", "Div", "Dropout", "Elu",
    "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
    "GroupNormalization", "LRN", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mish", "Mul", "Neg",
    "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus",
    "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu",
    "MeanVarianceNormalization", "Softmax", "LogSoftmax", "CastLike", "Sin", "Cos",
}  # fmt: skip
SPATIAL = {
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace",
    "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GroupNormalization",
    "InstanceNormalization", "LRN", "LpPool", "MaxPool", "Resize", "RoiAlign", "SpaceToDepth",
    "Upsample",
}  # fmt: skip
KEEPING = {"Pad", "Slice", "Concat", "Split"}  # an image's part or enlargement is one, too
WINDOWS = {"Conv", "MaxPool", "AveragePool", "LpPool"}
SHUFFLES = {  # orders of axes with which images are reshaped, moved and reshaped again
    (0, 2, 1, 3, 4), (0, 1, 4, 2, 5, 3), (0, 3, 4, 1, 5, 2), (0, 1, 3, 5, 2, 4),
    (0, 3, 5, 1, 2, 4), (0, 2, 1, 3), (0, 1, 3, 2, 4, 5),
}  # fmt: skip
TO_CHANNELS_FIRST = (0, 3, 1, 2)


class Image(NamedTuple):
    """channels: None where they aren't known.  size: a key that stands for height and width."""

    channels: int | None
    size: Any


def image_inputs(graph: Graph) -> set[str]:
    """Return the names of inputs that are images (N, C, H, W): those that an operator of images
    takes, before or after operators of single elements."""
    weights = graph.tensors.keys()
    ranks = {x.name: len(x.shape) for x in graph.inputs if x.shape is not None}
    found: set[str] = set()
    from_inputs = {
        x.name: {x.name} for x in graph.inputs
        if x.name not in weights and ranks.get(x.name, 4) == 4
    }  # fmt: skip
    for node in graph.nodes:
        sources = [from_inputs.get(name, set()) for name in node.inputs]
        if not any(sources):
            continue
        if node.op in SPATIAL:
            first = node.inputs[0]
            kernel = node.attributes.get("kernel_shape", ("ints", [0, 0]))[1]
            if kernel is not None and len(kernel) == 2:
                found |= from_inputs.get(first, set())
        if node.op in ELEMENTWISE | KEEPING:
            whole = set().union(*sources)
            from_inputs |= {name: whole for name in node.outputs if name}
    return found


def is_view_of_images(nodes: Sequence[Node], images: dict[str, Image], node: Node) -> bool:
    """Return whether a Reshape ends a shuffle of an image's channels or pixels, as it is spelt
    with Reshape, Transpose, Reshape."""
    made = {name: n for n in nodes for name in n.outputs}
    moved = made.get(node.inputs[0]) if node.inputs else None
    if node.op != "Reshape" or moved is None or moved.op != "Transpose":
        return False
    split = made.get(moved.inputs[0]) if moved.inputs else None
    order = moved.attributes.get("perm", ("", None))[1]
    return (
        split is not None
        and split.op == "Reshape"
        and bool(split.inputs)
        and split.inputs[0] in images
        and order is not None
        and tuple(order) in SHUFFLES
        and len(order) >= 5
    )


def image_of(
    node: Node, attributes: dict[str, Any], images: dict[str, Image], arrays: Sequence[Any]
) -> Image | None:
    """Return what a node's output is, if it is an image map for certain.

    arrays: its inputs that are constants, None for the others.
    """
    given = [images[name] for name in node.inputs if name in images]
    first = images.get(node.inputs[0]) if node.inputs else None
    if node.op in ("Conv", "ConvTranspose"):
        return _convolved(node, attributes, first, arrays)
    if first is not None and node.op in WINDOWS:
        if len(attributes["kernel_shape"]) != 2:
            return None
        return Image(first.channels, _size(node, attributes, first, attributes["kernel_shape"]))
    if first is not None and node.op.startswith("Global"):
        return Image(first.channels, "one pixel")
    if node.op == "Concat" and len(given) == len(node.inputs) and attributes["axis"] == 1:
        counts = [image.channels for image in given]
        total = None if None in counts else sum(counts)  # type: ignore[arg-type]
        sizes = {image.size for image in given}
        return Image(total, sizes.pop() if len(sizes) == 1 else None)
    if node.op in ELEMENTWISE and given:
        return _joined(node, given, arrays)
    if first is not None and node.op in ("Resize", "Upsample", "Pad", "Slice", "Split"):
        return Image(None, None)
    if first is not None and node.op in ("DepthToSpace", "SpaceToDepth"):
        return Image(None, None)
    if node.op == "RoiAlign":
        return Image(None, None)
    if node.op == "Transpose" and attributes["perm"] == TO_CHANNELS_FIRST:
        return Image(None, node.inputs[0])
    return None


def _joined(node: Node, given: list[Image], arrays: Sequence[Any]) -> Image | None:
    """Return what is made of images and constants that broadcast to them."""
    channels = {image.channels for image in given}
    sizes = {image.size for image in given}
    others = len(node.inputs) - len(given)
    constants = [a for a in arrays if a is not None]
    if node.op not in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow"):
        return given[0]
    if others != len(constants) or any(a.ndim > 4 for a in constants):
        return Image(None, None) if all(a.ndim <= 4 for a in constants) and given else None
    plain = all(a.size == 1 or a.shape[-2:] == (1, 1) for a in constants)
    whole = channels.pop() if len(channels) == 1 else None
    if any(a.size > 1 and a.ndim >= 3 and a.shape[-3] not in (1, whole) for a in constants):
        whole = None
    return Image(whole, sizes.pop() if len(sizes) == 1 and plain else None)


def _convolved(
    node: Node, attributes: dict[str, Any], first: Image | None, arrays: Sequence[Any]
) -> Image | None:
    weight = arrays[1] if len(arrays) > 1 else None
    kernel = attributes["kernel_shape"] or (weight.shape[2:] if weight is not None else None)
    if kernel is None:
        return first and Image(None, None)
    if len(kernel) != 2 or (weight is not None and weight.ndim != 4):
        return None
    if node.op == "ConvTranspose":
        return Image(None if weight is None else weight.shape[1] * attributes["group"], None)
    channels = None if weight is None else weight.shape[0]
    return Image(channels, None if first is None else _size(node, attributes, first, kernel))


def _size(node: Node, attributes: dict[str, Any], image: Image, kernel: Sequence[int]) -> Any:
    """Return the key of the size after windows: those that count alike have the same."""
    if image.size is None:
        return None
    strides = tuple(attributes["strides"] or (1, 1))
    if attributes["auto_pad"] in ("SAME_UPPER", "SAME_LOWER"):
        reach: Any = "same"
    else:
        dilations = attributes["dilations"] or (1, 1)
        pads = attributes["pads"] or (0, 0, 0, 0)
        if not len(pads) == 2 * len(strides) == 2 * len(dilations) == 4:
            return None
        pads = (0, 0, 0, 0) if attributes["auto_pad"] == "VALID" else pads
        reach = tuple(pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1 for i in (0, 1))
    if strides == (1, 1) and reach in ("same", (-1, -1)):
        return image.size
    return (image.size, strides, reach, bool(attributes.get("ceil_mode", 0)))
