"""Random graphs of a CNN's operators: forward as ONNX Runtime, gradients as finite differences."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument

import minidl as md
from minidl import models

UNARY = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSwish", "Softplus", "Abs", "Softsign",
         "Exp", "Neg", "Selu")  # fmt: skip
BINARY = ("Add", "Sub", "Mul", "Max", "Min")
POOLS = ("MaxPool", "AveragePool")
MOST = 20_000  # numbers of a value


class Grower:
    """Grows a graph from images (2, C, H, W), an operator at a time."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.shapes = {"x": (2, *(int(n) for n in self.rng.integers((2, 4, 4), (7, 11, 11))))}
        self.nodes, self.arrays = [], []

    def whole(self, low, high, count=None):
        found = self.rng.integers(low, high + 1, count)
        return int(found) if count is None else [int(n) for n in found]

    def pick(self, options):
        return options[self.whole(0, len(options) - 1)]

    def array(self, *shape):
        numbers = self.rng.normal(0, 0.5, shape).astype(np.float32)
        return self.constant(numbers)

    def constant(self, numbers):
        name = f"c{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(np.asarray(numbers), name))
        return name

    def grow(self):
        """Try one more node; what onnx can't tell a shape of is left out."""
        x = self.pick(list(self.shapes)[-4:])
        shape = self.shapes[x]
        makers = [self.unary, self.binary, self.reduced, self.turned, self.part, self.padded]
        if len(shape) == 4:
            makers += [self.conv, self.transposed, self.pool, self.normed, self.resized] * 2
        kept = len(self.nodes), len(self.arrays)
        op, inputs, attributes = self.pick(makers)(x, shape)
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        try:
            told = onnx.shape_inference.infer_shapes(self.model(name), strict_mode=True)
            dims = told.graph.output[0].type.tensor_type.shape.dim
            made = tuple(d.dim_value for d in dims)
        except onnx.shape_inference.InferenceError:
            made = (0,)
        if 0 in made or np.prod(made) > MOST:
            del self.nodes[kept[0] :], self.arrays[kept[1] :]
        else:
            self.shapes[name] = made

    def model(self, output):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shapes["x"])
        shape = self.shapes.get(output)
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "random", [x], [y], self.arrays)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)

    # Operators: what node they add

    def unary(self, x, shape):
        return self.pick(UNARY), [x], {}

    def binary(self, x, shape):
        alike = [name for name, other in self.shapes.items() if other == shape]
        if self.whole(0, 1):
            return self.pick(BINARY), [x, self.pick(alike)], {}
        lengths = [n if self.whole(0, 1) else 1 for n in shape][self.whole(0, len(shape)) :]
        inputs = [x, self.array(*lengths)]
        return self.pick(BINARY), inputs[:: self.pick((1, -1))], {}

    def reduced(self, x, shape):
        axes = sorted(set(self.whole(0, len(shape) - 1, 2)))
        op = self.pick(("ReduceMean", "ReduceMax", "Softmax", "Concat"))
        if op == "Softmax":
            return op, [x], {"axis": axes[0]}
        if op == "Concat":
            alike = [name for name, other in self.shapes.items() if other == shape]
            return op, [x, self.pick(alike)], {"axis": axes[-1]}
        return op, [x], {"axes": axes, "keepdims": self.whole(0, 1)}

    def turned(self, x, shape):
        if self.whole(0, 1):
            return "Transpose", [x], {"perm": self.rng.permutation(len(shape)).tolist()}
        at = self.whole(0, max(len(shape) - 2, 0))
        joined = [*shape[:at], -1, *shape[at + 2 :]]
        return "Reshape", [x, self.constant(np.array(joined))], {}

    def part(self, x, shape):
        axis = self.whole(0, len(shape) - 1)
        step = self.pick((1, 2, -1))
        bounds = (0, max(1, shape[axis] - 1)) if step > 0 else (-1, -shape[axis] - 1)
        given = [self.constant(np.array([n])) for n in (*bounds, axis, step)]
        return "Slice", [x, *given], {}

    def padded(self, x, shape):
        widths = self.constant(np.array(self.whole(0, 1, 2 * len(shape))))
        mode = self.pick(("constant", "edge"))
        return "Pad", [x, widths], {"mode": mode}

    def conv(self, x, shape):
        group = self.pick([n for n in (1, 2, shape[1]) if shape[1] % n == 0])
        kernel, out = self.whole(1, 3, 2), group * self.whole(1, 2)
        inputs = [x, self.array(out, shape[1] // group, *kernel)]
        inputs += [self.array(out)] if self.whole(0, 1) else []
        if self.whole(0, 3):
            places = {"pads": self.whole(0, 1, 4), "dilations": self.whole(1, 2, 2)}
        else:
            places = {"auto_pad": self.pick(("SAME_UPPER", "SAME_LOWER", "VALID"))}
        return "Conv", inputs, {"group": group, "strides": self.whole(1, 2, 2)} | places

    def transposed(self, x, shape):
        group = self.pick([n for n in (1, 2) if shape[1] % n == 0])
        kernel, strides = self.whole(1, 3, 2), self.whole(1, 3, 2)
        inputs = [x, self.array(shape[1], self.whole(1, 2), *kernel)]
        pads = {"pads": self.whole(0, 1, 4)}
        if self.whole(0, 1):  # kernels below the stride: ONNX Runtime gives less than ONNX says
            pads, strides = {"auto_pad": "SAME_UPPER"}, np.minimum(kernel, strides).tolist()
        return "ConvTranspose", inputs, {"group": group, "strides": strides} | pads

    def pool(self, x, shape):
        op, kernel = self.pick(POOLS), self.whole(2, 3, 2)
        more = {"count_include_pad": self.whole(0, 1)} if op == "AveragePool" else {}
        more |= {"ceil_mode": self.whole(0, 1), "pads": self.whole(0, 1, 4)}
        return op, [x], {"kernel_shape": kernel, "strides": self.whole(1, 3, 2)} | more

    def normed(self, x, shape):
        op = self.pick(("BatchNormalization", "InstanceNormalization", "LRN", "GlobalAveragePool"))
        if op == "LRN":
            return op, [x], {"size": self.pick((3, 5)), "alpha": 0.1}
        if op == "GlobalAveragePool":
            return op, [x], {}
        rows = [self.array(shape[1]) for _ in range(2)]
        if op == "BatchNormalization":
            variance = self.rng.uniform(0.5, 1.5, shape[1]).astype(np.float32)
            rows += [self.array(shape[1]), self.constant(variance)]
        return op, [x, *rows], {}

    def resized(self, x, shape):
        scales = np.array([1, 1, *(self.pick((1.0, 1.5, 2.0)) for _ in "hw")], np.float32)
        mode = self.pick(("nearest", "linear", "cubic"))
        places = self.pick(("half_pixel", "asymmetric", "pytorch_half_pixel"))
        settings = {"mode": mode, "coordinate_transformation_mode": places}
        return "Resize", [x, "", self.constant(scales)], settings


def in_runtime(content, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(content, options).run(None, {"x": x})[0]


def in_minidl(net, x):
    """The output as the file has it."""
    given, port = net.features.inputs[0], getattr(net.classifier, "outputs", net.features.outputs)
    y = net(md.ops.transpose(x, axes=(0, 2, 3, 1)) if given.channels_last else x)
    turned = port[0].channels_last and y.ndim == 4
    return md.ops.transpose(y, axes=(0, 3, 1, 2)) if turned else y


@pytest.mark.parametrize("part", range(5))
def test_random_graphs(part, tmp_path):
    compared = 0
    for seed in range(30 * part, 30 * part + 30):
        grower = Grower(seed)
        for _ in range(grower.whole(3, 12)):
            grower.grow()
        output = list(grower.shapes)[-1]
        if output == "x":
            continue
        content = grower.model(output).SerializeToString()
        (tmp_path / "net.onnx").write_bytes(content)
        x = grower.rng.normal(size=grower.shapes["x"]).astype(np.float32)
        net, told = models.load(tmp_path / "net.onnx").eval(), f"seed {seed}"
        try:
            wanted = in_runtime(content, x)
        except (Fail, InvalidArgument):  # windows that lie in the padding
            continue
        with md.no_grad():
            found = in_minidl(net, md.tensor(x)).data
        assert found.shape == wanted.shape, told
        scale = max(np.abs(wanted).max(), 1e-3)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-4 * scale, err_msg=told)
        if seed % 5 == 0:
            assert_gradient(net.astype(np.float64), x.astype(np.float64), grower.rng, told)
        compared += 1
    assert compared > 20


def assert_gradient(net, x, rng, told):
    """The slope along one direction, by central differences."""
    weights = rng.normal(size=in_minidl(net, md.tensor(x)).shape)
    direction, step = rng.normal(size=x.shape), 1e-6

    def loss(x):
        return md.ops.sum(in_minidl(net, x) * weights)

    leaf = md.tensor(x, requires_grad=True)
    loss(leaf).backward()
    with md.no_grad():
        ends = [loss(md.tensor(x + sign * step * direction)).item() for sign in (1, -1)]
    slope, found = (ends[0] - ends[1]) / (2 * step), (leaf.grad * direction).sum()
    assert found == pytest.approx(slope, rel=1e-4, abs=1e-5), told
