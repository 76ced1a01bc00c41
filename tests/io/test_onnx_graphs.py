"""Imported graphs where two readings are near: forms of weights, axes, batches, new heads."""

import numpy as np
import pytest
from onnx_writing import model, node

import minidl as md
from minidl import models


@pytest.fixture
def load(tmp_path):
    def loaded(content):
        path = tmp_path / "net.onnx"
        path.write_bytes(content)
        return models.load(path).eval()

    return loaded


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


# One weight in two forms


@pytest.mark.parametrize(
    ("settings", "form"),
    [({"transB": 1}, lambda w: w.T), ({"alpha": 2.0}, lambda w: 2 * w), ({}, lambda w: w)],
)
def test_products_share_a_weight_only_in_the_same_form(load, settings, form):
    weight, x = draw(4, 4), draw(3, 4, seed=1)
    nodes = [node("Gemm", ["x", "w"], ["a"], **settings), node("Relu", ["a"], ["b"]),
             node("Gemm", ["b", "w"], ["y"])]  # fmt: skip
    net = load(model(nodes, {"x": ("n", 4)}, {"y": ("n", 4)}, {"w": weight}))
    expected = np.maximum(x @ form(weight), 0) @ weight
    np.testing.assert_allclose(net(x).data, expected, 1e-5, 1e-5)
    assert len(list(net.parameters())) == (2 if settings else 1)


def test_a_bias_that_one_product_scales_is_another_for_the_next(load):
    weights, bias, x = draw(2, 4, 4), draw(4, seed=2), draw(3, 4, seed=1)
    nodes = [node("Gemm", ["x", "v", "b"], ["a"], beta=3.0), node("Gemm", ["a", "w", "b"], ["y"])]
    arrays = {"v": weights[0], "w": weights[1], "b": bias}
    net = load(model(nodes, {"x": ("n", 4)}, {"y": ("n", 4)}, arrays))
    expected = (x @ weights[0] + 3 * bias) @ weights[1] + bias
    np.testing.assert_allclose(net(x).data, expected, 1e-5, 1e-5)


def test_a_weight_of_flattened_images_is_not_that_of_rows(load):
    weight, x = draw(16, 16), draw(2, 2, 2, 4, seed=1)
    nodes = [node("MaxPool", ["x"], ["p"], kernel_shape=[1, 1]), node("Flatten", ["p"], ["f"]),
             node("MatMul", ["f", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"])]  # fmt: skip
    net = load(model(nodes, {"x": ("n", 4, 2, 2)}, {"y": ("n", 16)}, {"w": weight}))
    rows = x.transpose(0, 3, 1, 2).reshape(2, 16)
    np.testing.assert_allclose(net(x).data, rows @ weight @ weight, 1e-4, 1e-4)


# Axes


SOFTMAX_CASES = {  # opset, axis, what the scores are reshaped to, the softmax of scores
    "over the batch": (17, 0, None, lambda s: softmax(s, 0)),
    "over boxes": (17, 1, (4, 4), lambda s: softmax(s.reshape(-1, 4, 4), 1)),
    "of all, before opset 13": (11, 1, (4, 4), lambda s: softmax(s, 1).reshape(-1, 4, 4)),
    "over classes": (11, 1, None, lambda s: softmax(s, 1)),
}


@pytest.mark.parametrize("case", SOFTMAX_CASES)
def test_a_softmax_at_the_end_keeps_its_axis(load, case):
    opset, axis, reshaped, expected = SOFTMAX_CASES[case]
    weight, x = draw(16, 16), draw(3, 2, 2, 4, seed=1)
    nodes = [node("MaxPool", ["x"], ["p"], kernel_shape=[1, 1]), node("Flatten", ["p"], ["f"]),
             node("Gemm", ["f", "w"], ["s"])]  # fmt: skip
    if reshaped:
        nodes.append(node("Reshape", ["s", "shape"], ["r"]))
    nodes.append(node("Softmax", ["r" if reshaped else "s"], ["y"], axis=axis))
    arrays = {"w": weight, "shape": np.array([-1, *(reshaped or (16,))])}
    output = ("n", *(reshaped or (16,)))
    net = load(model(nodes, {"x": ("n", 4, 2, 2)}, {"y": output}, arrays, opset))
    scores = x.transpose(0, 3, 1, 2).reshape(3, 16) @ weight
    np.testing.assert_allclose(net(x).data, expected(scores), 1e-4, 1e-6)


@pytest.mark.parametrize("rows", [16, 4])
def test_images_reshaped_to_three_axes_are_no_matrix(load, rows):
    weight, x = draw(rows, 5), draw(2, 2, 2, 4, seed=1)
    kept = 16 // rows
    nodes = [
        node("MaxPool", ["x"], ["p"], kernel_shape=[1, 1]), node("Shape", ["p"], ["s"]),
        node("Slice", ["s", "zero", "one"], ["n"]), node("Concat", ["n", "rest"], ["t"], axis=0),
        node("Reshape", ["p", "t"], ["r"]), node("MatMul", ["r", "w"], ["y"]),
    ]  # fmt: skip
    arrays = {"w": weight, "zero": np.array([0]), "one": np.array([1]),
              "rest": np.array([kept, -1])}  # fmt: skip
    net = load(model(nodes, {"x": ("n", 4, 2, 2)}, {"y": ("n", kept, 5)}, arrays))
    expected = x.transpose(0, 3, 1, 2).reshape(2, kept, rows) @ weight
    np.testing.assert_allclose(net(x).data, expected, 1e-4, 1e-5)


# Files for one image


@pytest.mark.parametrize("op", ["Resize", "MeanVarianceNormalization"])
def test_operators_that_count_images_run_image_by_image(load, op):
    inputs = ["p", "", "", "sizes"] if op == "Resize" else ["p"]
    nodes = [node("MaxPool", ["x"], ["p"], kernel_shape=[1, 1]), node(op, inputs, ["y"])]
    side = 4 if op == "Resize" else 2
    content = model(nodes, {"x": (1, 3, 2, 2)}, {"y": (1, 3, side, side)},
                    {"sizes": np.array([1, 3, 4, 4])})  # fmt: skip
    net, x = load(content), draw(3, 2, 2, 3)
    whole = net(x).data
    assert whole.shape == (3, side, side, 3)
    np.testing.assert_array_equal(whole, np.concatenate([net(x[i : i + 1]).data for i in range(3)]))


def test_an_axis_that_is_one_number_is_read_as_a_list_of_it(load):
    nodes = [node("MaxPool", ["x"], ["p"], kernel_shape=[1, 1]),
             node("ReduceMean", ["p", "axis"], ["y"])]  # fmt: skip
    content = model(nodes, {"x": (1, 3, 2, 2)}, {"y": None}, {"axis": np.array(2)}, opset=18)
    x = draw(3, 2, 2, 3)  # (N, H, W, C) goes in, and (N, 3, 1, 2), as the file has it, comes out
    expected = x.mean(1, keepdims=True).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(load(content)(x).data, expected, 1e-5, 1e-6)


def test_nearest_resizing_rounds_as_onnx_runtime(load):
    """0.6 in float32 is a little larger: in float64, pixel 1 would lie just before 2."""
    x = np.arange(7, dtype=np.float32).reshape(1, 1, 7, 1)
    content = model(
        [node("Resize", ["x", "", "scales"], ["y"], nearest_mode="floor")],
        {"x": (1, 1, 1, 7)}, {"y": None}, {"scales": np.array([1, 1, 1, 0.6], np.float32)},
    )  # fmt: skip
    np.testing.assert_array_equal(load(content)(x).data.ravel(), [0, 2, 3, 5])


# New heads


@pytest.mark.parametrize("shape", [[-1, 6], [0, 6], [0, -1]])
def test_a_new_head_of_another_width_passes_the_reshape_after_it(load, shape, tmp_path):
    nodes = [
        node("Conv", ["x", "first"], ["c"]), node("Relu", ["c"], ["r"]),
        node("Conv", ["r", "last"], ["d"]), node("GlobalAveragePool", ["d"], ["g"]),
        node("Reshape", ["g", "shape"], ["y"]),
    ]  # fmt: skip
    arrays = {"first": draw(6, 3, 1, 1), "last": draw(6, 6, 1, 1), "shape": np.array(shape)}
    net = load(model(nodes, {"x": ("n", 3, 4, 4)}, {"y": ("n", 6)}, arrays))
    x = draw(2, 4, 4, 3, seed=1)
    scores = net.replace_head(5).replace_head(4)(x).data
    assert scores.shape == (2, 4)
    md.save_weights(net, tmp_path / "new.h5")
    np.testing.assert_array_equal(models.load(tmp_path / "new.h5").eval()(x).data, scores)


def test_the_head_is_the_layer_that_runs_last_whatever_its_name(load):
    nodes = [
        node("Conv", ["x", "conv.weight"], ["c"]), node("Flatten", ["c"], ["f"]),
        node("Gemm", ["f", "mlp.hidden.weight"], ["h"]), node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "out.weight"], ["y"]),
    ]  # fmt: skip
    arrays = {"conv.weight": draw(2, 3, 1, 1), "mlp.hidden.weight": draw(8, 7),
              "out.weight": draw(7, 6)}  # fmt: skip
    net = load(model(nodes, {"x": ("n", 3, 2, 2)}, {"y": ("n", 6)}, arrays))
    assert (net.num_classes, net.scoring_layer) == (6, "classifier.out")
    assert net.replace_head(4)(draw(2, 2, 2, 3)).shape == (2, 4)


# Normalizations of rows and sequences


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 3, 2)])
def test_a_normalization_of_other_than_images_is_a_layer(load, shape):
    names = ["weight", "bias", "running_mean", "running_var"]
    arrays = {f"bn.{name}": np.abs(draw(5, seed=i)) + 1 for i, name in enumerate(names)}
    nodes = [node("BatchNormalization", ["x", *arrays], ["y"])]
    net = load(model(nodes, {"x": ("n", *shape)}, {"y": ("n", *shape)}, arrays))
    x = draw(4, *shape, seed=9)
    w, b, mean, var = (a.reshape(-1, *(1,) * (len(shape) - 1)) for a in arrays.values())
    np.testing.assert_allclose(net(x).data, (x - mean) / np.sqrt(var + 1e-5) * w + b, 1e-4, 1e-5)
    assert [name for name, _ in net.named_parameters()] == [
        "features.bn.weight",
        "features.bn.bias",
    ]
    net.train()(x)
    axes = tuple(i for i in range(x.ndim) if i != 1)
    expected = 0.9 * arrays["bn.running_mean"] + 0.1 * x.mean(axes)
    np.testing.assert_allclose(net.features.bn.running_mean.data, expected, 1e-4, 1e-5)


def test_a_network_of_two_inputs_tells_no_size_of_images(load):
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "z"], ["y"])]
    inputs = {"x": ("n", 3, 4, 4), "z": ("n", 2, 1, 1)}
    net = load(model(nodes, inputs, {"y": None}, {"w": draw(2, 3, 1, 1)}))
    assert net.input_shape == ()
