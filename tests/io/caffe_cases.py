"""Networks of Caffe's for tests: descriptions with weights, one for each layer and setting."""

from typing import Any, NamedTuple

import numpy as np
from caffe_writing import blob, field
from caffe_writing import layer as stored

RANDOM = np.random.default_rng(0)
PARAMS = {
    "Bias": "bias", "BatchNorm": "batch_norm", "Concat": "concat", "Convolution": "convolution",
    "Crop": "crop", "Deconvolution": "convolution", "Eltwise": "eltwise", "LRN": "lrn",
    "InnerProduct": "inner_product", "Pooling": "pooling", "Power": "power", "PReLU": "prelu",
    "ReLU": "relu", "Reshape": "reshape", "Scale": "scale", "Slice": "slice", "Softmax": "softmax",
}  # fmt: skip


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def layer(name: str, kind: str, bottoms: str = "data", tops: str = "", inside: str = "") -> str:
    """A layer of a .prototxt. inside: settings of its kind."""
    lines = [f'name: "{name}" type: "{kind}"']
    lines += [f'bottom: "{each}"' for each in bottoms.split()]
    lines += [f'top: "{each}"' for each in (tops or name).split()]
    lines += [f"{PARAMS[kind]}_param {{ {inside} }}"] if inside else []
    return f"layer {{ {' '.join(lines)} }}\n"


def network(*layers: str, shape: tuple[int, ...] = (3, 7, 6)) -> str:
    """A .prototxt that takes "data" of a shape (C, H, W)."""
    dims = " ".join(f"dim: {n}" for n in (2, *shape))
    inside = f"input_param {{ shape {{ {dims} }} }}"
    data = f'layer {{ name: "data" type: "Input" top: "data" {inside} }}\n'
    return data + "".join(layers)


def weights(blobs: dict[str, list[np.ndarray]]) -> bytes:
    """A .caffemodel: arrays by the names of layers."""
    known = blobs or {"none": [normal(1)]}  # without any it would be no .caffemodel
    return field(1, b"net") + b"".join(
        stored(name, "Any", *map(blob, arrays)) for name, arrays in known.items()
    )


class Net(NamedTuple):
    """A description, the shape of what it takes, and its weights."""

    text: str
    shape: tuple[int, ...]
    blobs: dict[str, list[np.ndarray]]


def net(*layers: str, shape: tuple[int, ...] = (3, 7, 6), **blobs: Any) -> Net:
    return Net(network(*layers, shape=shape), shape, blobs)


def only(kind: str, inside: str = "", *arrays: np.ndarray, shape: Any = (3, 7, 6)) -> Net:
    """A network of one layer."""
    made = layer("y", kind, inside=inside)
    return net(made, shape=shape, **({"y": list(arrays)} if arrays else {}))


MOMENTS = [normal(3), np.abs(normal(3)) + 1, np.array([2.5], np.float32)]
CONV = "num_output: 4 kernel_size: 3"
FIVE = "num_output: 5"
POOLS = [
    "kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2", "kernel_size: 3 stride: 2 pad: 1",
    "pool: AVE kernel_size: 3 stride: 2", "pool: AVE kernel_size: 3 stride: 2 pad: 1",
    "pool: AVE kernel_h: 2 kernel_w: 3 stride: 2 pad_h: 1 pad_w: 2",
    "pool: AVE kernel_size: 2 stride: 1 pad: 1", "pool: AVE global_pooling: true",
    "pool: MAX global_pooling: true",
]  # fmt: skip
PLAIN = ["AbsVal", "BNLL", "Dropout", "ELU", "Flatten", "ReLU", "Sigmoid", "Softmax", "TanH"]

CASES = {
    "convolution": only("Convolution", CONV, normal(4, 3, 3, 3), normal(4)),
    "window": only(
        "Convolution",
        "num_output: 4 kernel_h: 3 kernel_w: 2 pad_h: 2 pad_w: 1 stride_h: 2 stride_w: 1 "
        "bias_term: false",
        normal(4, 3, 3, 2),
    ),
    "groups": only(
        "Convolution", CONV + " group: 2 pad: 2 dilation: 2", normal(4, 2, 3, 3), normal(4),
        shape=(4, 7, 6),
    ),
    "deconvolution": only(
        "Deconvolution", "num_output: 2 kernel_size: 4 stride: 2 pad: 1",
        normal(3, 2, 4, 4), normal(2),
    ),
    "grouped deconvolution": only(
        "Deconvolution", "num_output: 3 group: 3 kernel_size: 3 stride: 2 bias_term: false",
        normal(3, 1, 3, 3),
    ),
    **{f"pooling {inside}": only("Pooling", inside) for inside in POOLS},
    "inner product": only("InnerProduct", FIVE, normal(5, 126), normal(5)),
    "old blobs": only("InnerProduct", FIVE, normal(1, 1, 5, 126), normal(1, 1, 1, 5)),
    "two products": net(
        layer("a", "InnerProduct", inside=FIVE), layer("relu", "ReLU", "a", "a"),
        layer("b", "InnerProduct", "a", inside="num_output: 2"),
        a=[normal(5, 126), normal(5)], b=[normal(2, 5), normal(2)],
    ),
    "flatten, product": net(
        layer("flat", "Flatten"), layer("ip", "InnerProduct", "flat", inside=FIVE),
        ip=[normal(5, 126), normal(5)],
    ),
    "responses": only("LRN", "local_size: 3 alpha: 0.7 beta: 0.6 k: 2", shape=(6, 4, 3)),
    "within": only("LRN", "local_size: 3 alpha: 0.7 norm_region: WITHIN_CHANNEL"),
    "batch norm": only("BatchNorm", "eps: 0.01", *MOMENTS),
    "batch norm, scale, relu": net(
        layer("bn", "BatchNorm"), layer("sc", "Scale", "bn", "bn", "bias_term: true"),
        layer("relu", "ReLU", "bn", "bn"), bn=MOMENTS, sc=[normal(3), normal(3)],
    ),
    "scale, bias": net(
        layer("sc", "Scale", inside="bias_term: true"), layer("b", "Bias", "sc"),
        sc=[normal(3), normal(3)], b=[normal(3)],
    ),
    "gate": net(
        layer("pool", "Pooling", inside="pool: AVE global_pooling: true"),
        layer("flat", "Flatten", "pool"), layer("sc", "Scale", "data flat", inside="axis: 0"),
    ),
    "prelu": only("PReLU", "", normal(3)),
    "shared prelu": only("PReLU", "channel_shared: true", normal(1)),
    **{kind: only(kind) for kind in PLAIN},
    "leaky": only("ReLU", "negative_slope: 0.2"),
    "power": only("Power", "power: 2 scale: 0.5 shift: 1"),
    "softmax of rows": net(layer("flat", "Flatten"), layer("y", "Softmax", "flat")),
    "softmax along rows": only("Softmax", "axis: 2"),
    **{
        f"eltwise {inside}": net(layer("a", "TanH"), layer("y", "Eltwise", "data a", "", inside))
        for inside in ("", "operation: PROD", "operation: MAX", "coeff: 2 coeff: -0.5")
    },
    "concat": net(layer("a", "TanH"), layer("y", "Concat", "data a")),
    "concat rows": net(layer("a", "TanH"), layer("y", "Concat", "data a", "", "axis: 2")),
    "slice": net(layer("s", "Slice", "data", "a b", "slice_point: 1"), layer("y", "TanH", "b")),
    "slice evenly": net(layer("s", "Slice", "data", "a b", "axis: 3")),
    "split": net(layer("s", "Split", "data", "a b"), layer("y", "Eltwise", "a b")),
    "crop": net(
        layer("pool", "Pooling", inside="kernel_size: 3 stride: 2"),
        layer("y", "Crop", "data pool", inside="offset: 1 offset: 2"),
    ),
    "reshape": only("Reshape", "shape { dim: 0 dim: 2 dim: -1 dim: 7 }"),
    "reshape to rows": only("Reshape", "shape { dim: 0 dim: -1 }"),
}  # fmt: skip

CLASSIFIER = network(
    layer("conv1/3x3", "Convolution", inside=CONV + " pad: 1"),
    layer("bn", "BatchNorm", "conv1/3x3", "conv1/3x3"),
    layer("scale", "Scale", "conv1/3x3", "conv1/3x3", "bias_term: true"),
    layer("relu", "ReLU", "conv1/3x3", "conv1/3x3"),
    layer("pool", "Pooling", "conv1/3x3", inside="pool: AVE global_pooling: true"),
    layer("drop", "Dropout", "pool", "pool"),
    layer("fc", "InnerProduct", "pool", inside=FIVE),
    layer("prob", "Softmax", "fc"),
    shape=(3, 8, 8),
)

REFUSED = [
    (layer("n", "Nrom"), r"layer 'n' \(Nrom\): .* no layer of the type 'Nrom'"),
    (layer("n", "Convolutoin"), "the nearest are Convolution"),
    (layer("n", "Python"), "layer of the type 'Python'"),
    (layer("c", "Convolution", inside=CONV + " stride: 0"), "stride must be .* got 0"),
    (layer("c", "Convolution", inside=CONV + " group: 2"), "doesn't divide"),
    (layer("c", "Convolution", inside=CONV + " kernel_h: 2"), "kernel_size, or both"),
    (layer("c", "Convolution", inside=CONV + " pad: -1"), "pad must be a whole"),
    (layer("c", "Convolution", inside=CONV + ' pad: "a"'), "pad must be a whole"),
    (layer("c", "Convolution", "gone", inside=CONV), "nothing before it gives 'gone'"),
    (layer("c", "InnerProduct", inside=FIVE + " axis: 2"), "along axis 1"),
    (layer("c", "InnerProduct", inside="num_output: 1024")
     + layer("d", "InnerProduct", "c", inside="num_output: 1048576"),
     "more than 268,435,456 parameters"),
    (layer("p", "Pooling", inside="kernel_size: 9"), "doesn't fit an input"),
    (layer("p", "Pooling", inside="kernel_size: 2 stride: 3"), "2 pixels every 3"),
    (layer("p", "Pooling", inside="pool: STOCHASTIC"), "stochastic"),
    (layer("p", "LRN", inside="local_size: 4"), "must be odd"),
    (layer("s", "Slice", "data", "a b", "slice_point: 3"), "can't be cut"),
    (layer("e", "Eltwise", "data data", inside="coeff: 1"), "1 coeff for 2"),
    (layer("r", "Reshape", inside="shape { dim: 0 dim: 5 }"), "126"),
    (layer("a", "TanH", "data", "a b"), "gives 1 tops"),
    (layer("a", "TanH").replace("}", 'param { name: "w" } }'), "shares its parameters"),
    (layer("a", "TanH").replace("}", "include { phase: TRAIN } }"), "no layer that computes"),
    (layer("a", "TanH").replace("}", "convolution_param: 3 include: 1 }"), r"include \{"),
]  # fmt: skip
