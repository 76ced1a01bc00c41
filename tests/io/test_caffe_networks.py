"""Networks of Caffe's as modules: what each layer computes, by a second reading with loops."""

import caffe_reading
import numpy as np
import pytest
from test_caffe import blob, field
from test_caffe import layer as stored

import minidl as md
from minidl import models
from minidl.errors import ArgumentError, FileFormatError, StateError

RANDOM = np.random.default_rng(0)


def layer(name, type_, bottoms="data", tops=None, *settings):
    """A layer of a .prototxt."""
    lines = [f'name: "{name}"', f'type: "{type_}"']
    lines += [f'bottom: "{each}"' for each in bottoms.split()]
    lines += [f'top: "{each}"' for each in (tops or name).split()]
    return f"layer {{ {' '.join([*lines, *settings])} }}\n"


def network(*layers, shape=(3, 7, 6)):
    dims = " ".join(f"dim: {n}" for n in (2, *shape))
    data = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}\n'
    return data + "".join(layers)


def weights(**blobs):
    """A .caffemodel: arrays by the names of layers."""
    return b"".join(stored(name, "Any", *map(blob, arrays)) for name, arrays in blobs.items())


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def loaded(folder, text, **blobs):
    (folder / "net.prototxt").write_text(text)
    (folder / "net.caffemodel").write_bytes(field(1, b"net") + weights(**blobs))
    return models.load(folder / "net.caffemodel").eval()


def last(array):
    """(N, C, H, W) as minidl has it."""
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


CONV = "convolution_param { num_output: 4 kernel_size: 3 %s }"
POOL = "pooling_param { %s }"
KERNEL = {"conv": [normal(4, 3, 3, 3), normal(4)]}
MOMENTS = [normal(3), np.abs(normal(3)) + 1, np.array([2.5], np.float32)]
CASES = {
    "convolution": ([layer("conv", "Convolution", "data", None, CONV % "")], KERNEL),
    "window": ([layer("conv", "Convolution", "data", None, "convolution_param { num_output: 4 "
               "kernel_h: 3 kernel_w: 2 pad_h: 2 pad_w: 1 stride_h: 2 stride_w: 1 bias_term: false }")],
               {"conv": [normal(4, 3, 3, 2)]}),
    "groups": ([layer("conv", "Convolution", "data", None, CONV % "group: 2 pad: 2 dilation: 2")],
               {"conv": [normal(4, 2, 3, 3), normal(4)]}, (4, 7, 6)),
    "deconvolution": ([layer("up", "Deconvolution", "data", None,
                       "convolution_param { num_output: 2 kernel_size: 4 stride: 2 pad: 1 }")],
                      {"up": [normal(3, 2, 4, 4), normal(2)]}),
    "grouped deconvolution": ([layer("up", "Deconvolution", "data", None, "convolution_param { "
                              "num_output: 3 group: 3 kernel_size: 3 stride: 2 bias_term: false }")],
                              {"up": [normal(3, 1, 3, 3)]}),
    **{f"pooling {s}": ([layer("pool", "Pooling", "data", None, POOL % s)], {}) for s in (
        "kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2", "kernel_size: 3 stride: 2 pad: 1",
        "pool: AVE kernel_size: 3 stride: 2", "pool: AVE kernel_size: 3 stride: 2 pad: 1",
        "pool: AVE kernel_h: 2 kernel_w: 3 stride: 2 pad_h: 1 pad_w: 2", "pool: AVE global_pooling: true",
        "pool: MAX global_pooling: true", "pool: AVE kernel_size: 2 stride: 1 pad: 1")},
    "inner product": ([layer("ip", "InnerProduct", "data", None, "inner_product_param { num_output: 5 }")],
                      {"ip": [normal(5, 126), normal(5)]}),
    "old blobs": ([layer("ip", "InnerProduct", "data", None, "inner_product_param { num_output: 5 }")],
                  {"ip": [normal(1, 1, 5, 126), normal(1, 1, 1, 5)]}),
    "two products": ([layer("a", "InnerProduct", "data", None, "inner_product_param { num_output: 5 }"),
                      layer("relu", "ReLU", "a", "a"),
                      layer("b", "InnerProduct", "a", None, "inner_product_param { num_output: 2 }")],
                     {"a": [normal(5, 126), normal(5)], "b": [normal(2, 5), normal(2)]}),
    "responses": ([layer("norm", "LRN", "data", None, "lrn_param { local_size: 3 alpha: 0.7 beta: 0.6 k: 2 }")],
                  {}, (6, 4, 3)),
    "within": ([layer("norm", "LRN", "data", None,
                "lrn_param { local_size: 3 alpha: 0.7 norm_region: WITHIN_CHANNEL }")], {}),
    "batch norm": ([layer("bn", "BatchNorm", "data", None, "batch_norm_param { eps: 0.01 }")], {"bn": MOMENTS}),
    "batch norm, scale, relu": ([layer("bn", "BatchNorm", "data", "bn"),
                                 layer("sc", "Scale", "bn", "bn", "scale_param { bias_term: true }"),
                                 layer("relu", "ReLU", "bn", "bn")],
                                {"bn": MOMENTS, "sc": [normal(3), normal(3)]}),
    "scale": ([layer("sc", "Scale", "data", None, "scale_param { bias_term: true }"),
               layer("b", "Bias", "sc", None)], {"sc": [normal(3), normal(3)], "b": [normal(3)]}),
    "gate": ([layer("pool", "Pooling", "data", None, POOL % "pool: AVE global_pooling: true"),
              layer("flat", "Flatten", "pool"),
              layer("sc", "Scale", "data flat", None, "scale_param { axis: 0 }")], {}),
    "prelu": ([layer("p", "PReLU")], {"p": [normal(3)]}),
    "shared prelu": ([layer("p", "PReLU", "data", None, "prelu_param { channel_shared: true }")],
                     {"p": [normal(1)]}),
    **{kind: ([layer("y", kind)], {}) for kind in ("ReLU", "Sigmoid", "TanH", "ELU", "AbsVal", "BNLL",
                                                   "Softmax", "Dropout", "Flatten")},
    "leaky": ([layer("y", "ReLU", "data", None, "relu_param { negative_slope: 0.2 }")], {}),
    "power": ([layer("y", "Power", "data", None, "power_param { power: 2 scale: 0.5 shift: 1 }")], {}),
    "rows softmax": ([layer("flat", "Flatten"), layer("y", "Softmax", "flat")], {}),
    "softmax of rows": ([layer("y", "Softmax", "data", None, "softmax_param { axis: 2 }")], {}),
    **{f"eltwise {s}": ([layer("a", "TanH"), layer("y", "Eltwise", "data a", None, f"eltwise_param {{ {s} }}")],
                        {}) for s in ("", "operation: PROD", "operation: MAX", "coeff: 2 coeff: -0.5")},
    "concat": ([layer("a", "TanH"), layer("y", "Concat", "data a")], {}),
    "concat rows": ([layer("a", "TanH"), layer("y", "Concat", "data a", None, "concat_param { axis: 2 }")], {}),
    "slice": ([layer("s", "Slice", "data", "a b", "slice_param { slice_point: 1 }"), layer("y", "TanH", "b")], {}),
    "slice evenly": ([layer("s", "Slice", "data", "a b", "slice_param { axis: 3 }")], {}),
    "split": ([layer("s", "Split", "data", "a b"), layer("y", "Eltwise", "a b")], {}),
    "crop": ([layer("pool", "Pooling", "data", None, POOL % "kernel_size: 3 stride: 2"),
              layer("y", "Crop", "data pool", None, "crop_param { offset: 1 offset: 2 }")], {}),
    "flatten, product": ([layer("flat", "Flatten"),
                          layer("ip", "InnerProduct", "flat", None, "inner_product_param { num_output: 5 }")],
                         {"ip": [normal(5, 126), normal(5)]}),
    "reshape": ([layer("y", "Reshape", "data", None, "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 7 } }")],
                {}),
    "reshape to rows": ([layer("y", "Reshape", "data", None, "reshape_param { shape { dim: 0 dim: -1 } }")], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_layer(name, tmp_path):
    layers, blobs, *shape = CASES[name]
    text = network(*layers, shape=shape[0] if shape else (3, 7, 6))
    blobs = blobs or {"none": [normal(1)]}  # a .caffemodel without weights is none
    model = loaded(tmp_path, text, **blobs)
    x = RANDOM.standard_normal((2, *(shape[0] if shape else (3, 7, 6)))).astype(np.float32)
    values = caffe_reading.run(caffe_reading.parse(text), blobs, {"data": x})
    read = {bottom for each in caffe_reading.parse(text)["layer"] for bottom in each.get("bottom", [])}
    outputs = [port.name for port in (model.classifier if hasattr(model.classifier, "outputs")
                                      else model.features).outputs]  # fmt: skip
    with md.no_grad():
        found = model(last(x))
    found = found if isinstance(found, tuple) else (found,)
    for top, y in zip(outputs, found, strict=True):
        wanted = last(values[top])
        assert y.shape == wanted.shape
        np.testing.assert_allclose(y.data, wanted, rtol=0, atol=2e-5 * max(1, np.abs(wanted).max()))
    assert read
