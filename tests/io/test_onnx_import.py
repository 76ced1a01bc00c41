"""Networks out of ONNX files that are written by hand; nothing here needs the onnx package."""

import copy

import numpy as np
import onnx_writing as writing
import pytest
from onnx_writing import draw, model, node, one

import minidl as md
from minidl import models, nn
from minidl.errors import ArgumentError, FileFormatError, ShapeError

# What a network is


def by_hand(x, state):
    """The network of `onnx_writing.classifier` in NumPy, float64; x (N, 8, 8, 2)."""

    def conv(x, weight):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        return np.einsum("nhwcij,ijco->nhwo", windows, weight)

    s = {name.split(".", 1)[1]: a.astype(np.float64) for name, a in state.items()}
    a = conv(x.astype(np.float64), s["conv.weight"])
    a = (a - s["bn.running_mean"]) / np.sqrt(s["bn.running_var"] + 1e-5)
    a = np.maximum(a * s["bn.weight"] + s["bn.bias"], 0)
    b = np.maximum(conv(a, s["second.weight"]) + s["second.bias"] + a, 0)
    b = b.reshape(len(x), 4, 2, 4, 2, 4).max((2, 4))
    return b.reshape(len(x), -1) @ s["fc.weight"] + s["fc.bias"]


def test_names_layouts_and_numbers(load):
    net = load(writing.classifier()).eval()
    assert [name for name, _ in net.named_parameters()] == [
        "features.conv.weight", "features.bn.weight", "features.bn.bias",
        "features.second.weight", "features.second.bias",
        "classifier.fc.weight", "classifier.fc.bias",
    ]  # fmt: skip
    assert [name for name, _ in net.named_buffers()] == [
        "features.bn.running_mean", "features.bn.running_var"
    ]  # fmt: skip
    assert net.features.conv.weight.shape == (3, 3, 2, 4)
    assert net.features.bn.activation == "relu"
    assert net.input_shape == (8, 8, 2)
    x = draw(5, 8, 8, 2)
    np.testing.assert_allclose(net(x).data, by_hand(x, net.state_dict()), 1e-4, 1e-5)


def test_flattened_rows_are_in_the_order_of_channels_last(load):
    """No step of the network moves numbers: the matrix has its rows where minidl has features."""
    weight = draw(2, 12)
    content = model(
        [node("Relu", ["x"], ["r"]), node("MaxPool", ["r"], ["p"], kernel_shape=[1, 1]),
         node("Flatten", ["p"], ["f"]), node("Gemm", ["f", "w"], ["y"], transB=1)],
        {"x": ("n", 3, 2, 2)}, {"y": ("n", 2)}, {"w": weight},
    )  # fmt: skip
    net = load(content)
    x = np.abs(draw(4, 2, 2, 3))
    flat = x.transpose(0, 3, 1, 2).reshape(4, -1)
    np.testing.assert_allclose(net(x).data, flat @ weight.T, 1e-5)
    kept = next(array for name, array in net.state_dict().items() if name.endswith("weight"))
    wanted = weight.reshape(2, 3, 2, 2).transpose(2, 3, 1, 0)  # (H, W, C, out)
    np.testing.assert_array_equal(kept.reshape(2, 2, 3, 2), wanted)


def test_a_new_head_freezing_summary_and_saving(load, tmp_path):
    net = load(writing.classifier(softmax=True)).eval()
    x = draw(3, 8, 8, 2)
    probabilities, scores = net(x).data, net.unnormalized(x).data
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, 1e-5)
    np.testing.assert_allclose(np.log(probabilities) - scores, (np.log(probabilities) - scores)
                               .mean(axis=1, keepdims=True).repeat(3, 1), atol=1e-5)  # fmt: skip
    assert (net.num_classes, net.scoring_layer) == (3, "classifier.fc")
    net.replace_head(5)
    net.features.freeze()
    assert net(x).shape == (3, 5)
    assert net(x).data.sum(axis=1).max() != pytest.approx(1)
    nn.CrossEntropyLoss()(net.train()(x), np.arange(3)).backward()
    assert {n for n, p in net.named_parameters() if p.grad is not None} == {
        "classifier.fc.weight", "classifier.fc.bias"
    }  # fmt: skip
    assert "conv Conv2d" in str(md.summary(net))
    md.save_weights(net, tmp_path / "w.h5")
    other = load(writing.classifier(2, softmax=True)).replace_head(5)
    md.load_weights(other, tmp_path / "w.h5")
    np.testing.assert_array_equal(other.eval()(x).data, net.eval()(x).data)


def test_training_updates_the_statistics_and_a_copy_is_its_own(load):
    net = load(writing.classifier())
    twin = copy.deepcopy(net)
    before = net.state_dict()
    nn.CrossEntropyLoss()(net.train()(draw(6, 8, 8, 2)), np.arange(6) % 3).backward()
    assert not np.array_equal(net.features.bn.running_mean.data, before["features.bn.running_mean"])
    np.testing.assert_array_equal(
        twin.features.bn.running_mean.data, before["features.bn.running_mean"]
    )
    assert all(p.grad is not None for p in net.parameters())


def test_compiled_it_computes_the_same(load):
    net, x = load(writing.classifier()).eval(), draw(2, 8, 8, 2)
    compiled = md.compile(net)
    with md.no_grad():
        np.testing.assert_allclose(compiled(x).data, net(x).data, 1e-4, 1e-5)
        np.testing.assert_allclose(compiled(2 * x).data, net(2 * x).data, 1e-4, 1e-5)


def test_float64(load):
    net = load(writing.classifier()).eval()
    x = draw(2, 8, 8, 2)
    single = net(x).data
    double = net.astype(np.float64)(x.astype(np.float64)).data
    assert double.dtype == np.float64
    np.testing.assert_allclose(single, double, 1e-4, 1e-5)


# Numbers of images


def test_a_file_for_one_image_takes_more(load):
    x = draw(5, 8, 8, 2)
    fixed, free = load(writing.classifier(batch=1)).eval(), load(writing.classifier()).eval()
    np.testing.assert_array_equal(fixed(x).data, free(x).data)


def test_a_shape_that_is_written_out_keeps_images_apart(load):
    content = model(
        [node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
         node("Reshape", ["a", "shape"], ["y"])],
        {"x": (1, 3, 4, 4)}, {"y": (1, 2, 6)}, {"shape": np.array([1, 2, -1])},
    )  # fmt: skip
    net, x = load(content), draw(4, 4, 4, 3)
    whole = net(x).data
    assert whole.shape == (4, 2, 6)
    np.testing.assert_array_equal(whole, np.concatenate([net(x[i : i + 1]).data for i in range(4)]))


def test_what_mixes_images_runs_in_parts(load):
    content = model(
        [node("MaxPool", ["x"], ["a"], kernel_shape=[1, 1]),
         node("ReduceMax", ["a"], ["b"], axes=[0], keepdims=1), node("Sub", ["a", "b"], ["y"])],
        {"x": (2, 3, 4, 4)}, {"y": (2, 3, 4, 4)}, opset=13,
    )  # fmt: skip
    net, x = load(content), draw(4, 4, 4, 3)
    parts = [net(x[:2]).data, net(x[2:]).data]
    np.testing.assert_array_equal(net(x).data, np.concatenate(parts))
    with pytest.raises(ShapeError, match="made for 2 images at a time, got 3: give a multiple"):
        net(x[:3])


def test_rows_that_nothing_proves_to_be_images_stay_as_many(load):
    net = load(one("Softmax", ["x"], shape=(2, 3), axis=0))
    with pytest.raises(ShapeError, match="2 rows along the first axis, got 4"):
        net(draw(4, 3))


# Layouts


def test_shapes_that_the_graph_computes(load):
    """A channel shuffle by Shape, Gather, Concat and Reshape, for any number of images."""
    net, x = load(writing.shapes()), draw(3, 4, 6, 6)
    wanted = x.reshape(3, 2, 2, 6, 6).transpose(0, 2, 1, 3, 4).mean(axis=(3, 4))
    wanted = np.tile(np.pad(wanted, ((0, 0), (1, 1), (0, 0)))[:, 1:3], (1, 2, 1))
    np.testing.assert_allclose(net(x).data, wanted, 1e-5)


def test_pixel_shuffle_spelt_out_gives_images(load):
    content = model(
        [node("Conv", ["x", "w"], ["a"]), node("Reshape", ["a", "split"], ["b"]),
         node("Transpose", ["b"], ["c"], perm=[0, 1, 4, 2, 5, 3]),
         node("Reshape", ["c", "join"], ["y"])],
        {"x": ("n", 3, 4, 5)}, {"y": ("n", 2, 8, 10)},
        {"w": draw(8, 3, 1, 1), "split": np.array([-1, 2, 2, 2, 4, 5]),
         "join": np.array([-1, 2, 8, 10])},
    )  # fmt: skip
    net, x = load(content), draw(3, 4, 5, 3)
    assert net.features.outputs[0].channels_last
    wanted = md.ops.pixel_shuffle(x @ draw(8, 3, 1, 1)[:, :, 0, 0].T, 2)
    np.testing.assert_allclose(net(x).data, wanted, 1e-5, 1e-6)


def test_inputs_that_are_no_images_stay_as_they_are(load):
    net = load(one("MatMul", ["x", "w"], {"w": draw(6, 2)}))
    assert not net.features.inputs[0].channels_last
    x = draw(2, 4, 6, 6)
    np.testing.assert_allclose(net(x).data, x @ draw(6, 2), 1e-5, 1e-6)


def test_images_that_the_file_has_channels_last(load):
    content = model(
        [node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]), node("Conv", ["a", "w"], ["b"]),
         node("Transpose", ["b"], ["y"], perm=[0, 2, 3, 1])],
        {"x": ("n", 4, 5, 3)}, {"y": ("n", 4, 5, 2)}, {"w": draw(2, 3, 1, 1)},
    )  # fmt: skip
    net, x = load(content), draw(2, 4, 5, 3)
    np.testing.assert_allclose(net(x).data, x @ draw(2, 3, 1, 1)[:, :, 0, 0].T, 1e-5, 1e-6)


# Bad input


REFUSED = {
    "an op that isn't there": (one("GridSample", ["x", "x"]), "GridSample.*'the node'.*Resize"),
    "a misspelt one": (one("Convv", ["x", "x"]), "nearest that it has is Conv"),
    "control flow": (one("If", ["x"], then_branch=b"\n\x00"), "If.*control flow"),
    "quantized": (one("QuantizeLinear", ["x", "x"]), "QuantizeLinear.*8-bit integers"),
    "an attribute": (one("Relu", ["x"], slope=1.0), "Relu.*'slope' isn't known; known are none"),
    "its value": (one("Resize", ["x"], mode="lanczos"), "mode is 'lanczos'; minidl knows"),
    "its kind": (one("Concat", ["x"], axis=1.5), "'axis' should be of kind int, not float"),
    "its lack": (one("Concat", ["x"]), "Concat.*lacks the attribute axis"),
    "old opset": (one("Relu", ["x"], opset=5), "opset 5, and minidl reads 7 and later"),
    "nothing gives it": (one("Add", ["x", "z"]), "reads 'z', which nothing before it gives"),
    "no output": (model([], {"x": (1, 2)}, {"y": (1, 2)}), "nothing gives its output 'y'"),
    "misshaped weights": (
        model([node("Reshape", ["w", "s"], ["y"])], {}, {"y": None},
              {"w": draw(2, 3), "s": np.array([4, 4])}), r"shape \(2, 3\) can't become \[4, 4\]",
    ),
    "too large": (
        model([node("ConstantOfShape", ["s"], ["y"])], {}, {"y": None},
              {"s": np.array([2**40, 2**20])}), "too large",
    ),
    "a bomb": (
        model([node("Concat", ["w" if i == 0 else f"v{i}"] * 30, [f"v{i + 1}"], axis=0)
               for i in range(20)], {}, {"v20": None}, {"w": draw(1000)}), "too large",
    ),
    "text": (one("Relu", ["x"], [writing.tensor("t", np.float32(1), type=8)]), "holds text"),
    "few bytes": (one("Relu", ["x"], [writing.tensor("t", np.ones(3, np.float32), dims=[4])]),
                  "its shape wants 16 bytes"),
    "many bytes": (one("Relu", ["x"], [writing.tensor("t", np.ones(3), dims=[2**62])]),
                   "more memory than max_bytes"),
    "functions": (model([], {}, {"y": (1,)}, others=writing.message(25, b"")), "functions of its"),
    "a sequence": (
        writing.number(1, 8) + writing.message(7, writing.message(
            11, writing.message(1, "x") + writing.message(2, writing.message(4, b"")))),
        "'x' is a sequence",
    ),
    "TensorFlow": (writing.message(1, writing.message(1, "node")), "graph of TensorFlow's"),
    "a SavedModel": (writing.number(1, 1) + writing.message(2, b"abc"), "SavedModel"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_files_are_refused_with_what_they_are(load, name):
    content, told = REFUSED[name]
    with pytest.raises(FileFormatError, match=told):
        load(content)


def test_other_domains(load):
    content = model([node("Gelu", ["x"], ["y"], "n", "com.microsoft")], {"x": (1, 2)}, {"y": None})
    with pytest.raises(FileFormatError, match=r"Gelu, node 'n'.*domain 'com.microsoft'"):
        load(content)


def test_a_network_that_scores_no_classes_has_no_head(load):
    with pytest.raises(ArgumentError, match="no layer that scores classes"):
        load(one("Relu", ["x"])).replace_head(3)


def test_shapes_that_do_not_fit(load):
    net = load(writing.classifier())
    with pytest.raises(ShapeError, match=r"8x8 pixels, got shape \(1, 2, 8, 8\)|any, 8, 8, 2"):
        net(draw(1, 2, 8, 8))
    two = load(model([node("Add", ["a", "b"], ["y"])], {"a": (2,), "b": (2,)}, {"y": None}))
    with pytest.raises(ShapeError, match="takes 2 inputs, a, b, got 1"):
        two(draw(2))


def test_as_weights_it_is_refused(load, tmp_path):
    load(writing.classifier())
    with pytest.raises(FileFormatError, match=r"models\.load\(path\) makes it"):
        md.load_weights(models.lenet5(), tmp_path / "net.onnx")
