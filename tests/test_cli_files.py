"""`minidl convert`, over every kind of file."""

import re
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from converting import ENDINGS, keras_net, net, run

import minidl as md
from minidl import models, nn, optim

safetensors = pytest.importorskip("safetensors.numpy", reason="needs the extra interop")


class Words(nn.Module):
    def __init__(self):
        self.embedding = nn.Embedding(7, 3)
        self.lstm, self.gru, self.rnn = nn.LSTM(3, 2), nn.GRU(2, 4), nn.RNN(4, 3)

    def forward(self, x):
        for layer in (self.lstm, self.gru, self.rnn):
            x = layer(self.embedding(x) if layer is self.lstm else x)[0]
        return x


def random(model, seed=0):
    rng = np.random.default_rng(seed)
    for place in (*model.parameters(), *model.buffers()):
        place.data = rng.uniform(0.5, 1.5, place.shape).astype(np.float32)
    return model


def assert_same(model, other):
    state = model.state_dict()
    assert state.keys() == other.state_dict().keys()
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)


# convert


@pytest.mark.parametrize("second", ENDINGS)
@pytest.mark.parametrize("first", ENDINGS)
def test_two_conversions_keep_every_number(first, second, tmp_path, capsys):
    """From minidl's format to another, and from that to a third; both load."""
    model = random(net())
    source, one, two = tmp_path / "source.h5", tmp_path / f"one{first}", tmp_path / f"two{second}"
    md.save_weights(model, source)
    for given, wanted in ((source, one), (one, two)):
        status, out, err = run(capsys, "convert", given, wanted)
        assert (status, err) == (0, "")
        form = {".h5": "minidl", ".weights.h5": "keras"}.get(wanted.name[3:], "safetensors")
        count = sum(array.size for array in model.state_dict().values())
        assert out == f"{wanted}: 5 layers, {count:,} numbers, format {form}\n"
        other = net()
        md.load_weights(other, wanted)
        assert_same(other, model)


@pytest.mark.parametrize("ending", ENDINGS)
def test_tables_and_recurrent_layers_there_and_back(ending, tmp_path, capsys):
    model, there, back = random(Words()), tmp_path / f"there{ending}", tmp_path / "back.h5"
    for array in (model.lstm.bias, model.rnn.bias):  # PyTorch has two, of which one is 0 then
        array.data[...] = 0.5
    md.save_weights(model, tmp_path / "source.h5")
    for given, wanted in ((tmp_path / "source.h5", there), (there, back)):
        assert run(capsys, "convert", given, wanted)[0] == 0
    other = Words()
    md.load_weights(other, back)
    assert_same(other, model)


def test_a_lenet_by_its_name_and_arguments(tmp_path, capsys):
    model = random(models.lenet5(num_classes=7, in_channels=3))
    there, back = tmp_path / "there.safetensors", tmp_path / "back.h5"
    md.save_weights(model, tmp_path / "source.h5")
    assert run(capsys, "convert", tmp_path / "source.h5", there)[0] == 0
    arguments = ["--model", "lenet5", "--arguments", '{"num_classes": 7, "in_channels": 3}']
    status, out, _ = run(capsys, "convert", there, back, *arguments)
    assert status == 0
    assert out == f"{back}: 5 layers, {model.num_parameters:,} numbers, format minidl\n"
    assert_same(models.load(back), model)  # which knows its architecture


def test_rows_of_a_flattened_image_are_in_pytorch_s_order(tmp_path, capsys):
    model = random(models.lenet5())
    md.save_weights(model, tmp_path / "x.h5")
    assert run(capsys, "convert", tmp_path / "x.h5", tmp_path / "x.safetensors")[0] == 0
    theirs = safetensors.load_file(tmp_path / "x.safetensors")["classifier.0.weight"]
    for c, h, w in np.ndindex(16, 5, 5):
        ours = model.classifier[0].weight.data[(h * 5 + w) * 16 + c]
        np.testing.assert_array_equal(theirs[:, c * 25 + h * 5 + w], ours)


@pytest.mark.parametrize("widths", [(24, 5), (24, 24), (24, 24, 24, 5)])
@pytest.mark.parametrize("names", [("conv", "fc"), ("features.", "classifier.")])
def test_a_flattened_image_needs_the_network(names, widths, tmp_path, capsys):
    """Whichever of the two stands first in the file, which sorts names."""
    conv, head = f"{names[0]}0", f"{names[1]}0"
    shapes = {f"{conv}.weight": (4, 3, 2, 2), f"{conv}.bias": (4,)}
    for i, (rows, outputs) in enumerate(pairwise(widths)):
        shapes |= {f"{names[1]}{i}.weight": (outputs, rows), f"{names[1]}{i}.bias": (outputs,)}
    state = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    safetensors.save_file(state, tmp_path / "x.safetensors")
    status, out, err = run(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "x.h5")
    assert (status, out) == (2, "")
    assert f"{head}.weight" in err
    assert "give --model" in err
    assert not (tmp_path / "x.h5").exists()


def test_a_depthwise_kernel_needs_the_network(tmp_path, capsys):
    state = {"dw.weight": np.ones((8, 1, 3, 3), np.float32)}
    safetensors.save_file(state, tmp_path / "x.safetensors")
    status, _, err = run(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "x.h5")
    assert status == 2
    assert err.startswith("minidl convert: dw.weight (8, 1, 3, 3): only the network tells")


def test_a_table_is_never_turned_as_if_it_were_a_linear_layer(tmp_path, capsys):
    """PyTorch's Embedding and its Linear without bias look alike: refusing is right."""
    state = {"tokens.weight": np.arange(9, dtype=np.float32).reshape(3, 3)}
    safetensors.save_file(state, tmp_path / "x.safetensors")
    status, _, err = run(capsys, "convert", tmp_path / "x.safetensors", tmp_path / "x.h5")
    if status == 2:
        assert "tokens.weight" in err
        return
    model = nn.Module()
    model.tokens = nn.Embedding(3, 3)
    md.load_weights(model, tmp_path / "x.h5")
    np.testing.assert_array_equal(model.tokens.weight.data, state["tokens.weight"])


def test_keras_to_minidl(tmp_path, capsys):
    source, target = keras_net(tmp_path / "keras.h5"), tmp_path / "own.h5"
    assert run(capsys, "convert", source, target)[0] == 0
    with h5py.File(source) as theirs, h5py.File(target) as ours:
        kernel = theirs["model_weights/fc/fc/kernel:0"][()]
        np.testing.assert_array_equal(ours["fc/weight"][()], kernel)
        assert ours["fc"].attrs["kind"] == b"linear"
        assert ours["conv"].attrs["kind"] == b"convolution"


@pytest.mark.parametrize("between", [False, True])
def test_keras_to_pytorch_never_leaves_rows_in_keras_s_order(between, tmp_path, capsys):
    """Straight, or by way of minidl's own format; a refusal is right too."""
    source, target = keras_net(tmp_path / "keras.h5"), tmp_path / "torch.safetensors"
    with h5py.File(source) as file:
        kernel = file["model_weights/fc/fc/kernel:0"][()]
    if between:
        assert run(capsys, "convert", source, tmp_path / "own.h5")[0] == 0
        source = tmp_path / "own.h5"
    status, _, err = run(capsys, "convert", source, target)
    if status == 2:
        assert "fc" in err
        return
    weight = safetensors.load_file(target)["fc.weight"]
    for c, h, w in np.ndindex(4, 2, 3):
        np.testing.assert_array_equal(weight[:, c * 6 + h * 3 + w], kernel[(h * 3 + w) * 4 + c])


def test_a_checkpoint_becomes_its_weights(tmp_path, capsys):
    model = random(net())
    optimizer = optim.Adam(model.parameters())
    md.save_checkpoint(tmp_path / "checkpoint.h5", model, optimizer)
    assert run(capsys, "convert", tmp_path / "checkpoint.h5", tmp_path / "x.weights.h5")[0] == 0
    other = net()
    md.load_weights(other, tmp_path / "x.weights.h5")
    assert_same(other, model)


def test_a_network_as_onnx(tmp_path, capsys):
    import onnx

    model = random(md.models.create("lenet5", num_classes=3))
    md.save_weights(model, tmp_path / "x.h5")
    for more in ([], ["--model", "lenet5", "--arguments", '{"num_classes": 3}']):
        status, out, err = run(
            capsys, "convert", tmp_path / "x.h5", tmp_path / "x.onnx", "--layout", "NCHW", *more
        )
        assert status == 0, err
        assert f"{model.num_parameters:,} parameters, for images of 32 x 32 x 1" in out
        graph = onnx.load(tmp_path / "x.onnx").graph
        shape = [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
        assert shape == ["N", 1, 32, 32]


class Separate(nn.Module):
    """Two layers of their own, called as SeparableConv2d calls its parts."""

    def __init__(self):
        self.depthwise, self.pointwise = nn.DepthwiseConv2d(3, 3), nn.PointwiseConv2d(3, 2)


def test_layers_called_depthwise_and_pointwise_keep_their_biases(tmp_path, capsys):
    model = nn.Sequential(random(Separate()))
    md.save_weights(model, tmp_path / "x.h5")
    status, out, err = run(capsys, "convert", tmp_path / "x.h5", tmp_path / "x.weights.h5")
    assert status == 0, err
    with h5py.File(tmp_path / "x.weights.h5") as file:
        sizes = []
        file.visititems(lambda name, item: sizes.append(getattr(item, "size", 0)))
    assert sum(sizes) == model.num_parameters
    assert f"{model.num_parameters} numbers" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.h5", "x.safetensors"], r"could not read .*gone\.h5: No such file"),
        (["own.h5", "x.pb"], r"x\.pb: a new file's name ends in \.h5 \(minidl\), "),
        (["own.h5", "x.onnx"], r"own\.h5: it names no architecture"),
        (["own.h5", "x.safetensors", "--layout", "NCHW"], r"--layout is for a .* \.onnx"),
        (["own.h5", "x.keras"], r"x\.keras: a new file's name ends in"),
        (["own.h5", "nowhere/x.h5"], "nowhere"),
        (["text.h5", "x.h5"], r"text\.h5: expected weights .* found one starting with b'not weig"),
        (["pickle.pt", "x.h5"], r"pickle, which minidl never reads.*safetensors\.torch\.save_file"),
        (["own.h5", "x.h5", "--model", "lenet6"], "no network 'lenet6': did you mean lenet5"),
        (["own.h5", "x.h5", "--model", "lenet5"], "the state doesn't fit LeNet5"),
        (["own.h5", "x.h5", "--model", "lenet5", "--arguments", '{"colour": 1}'], "colour"),
        (["own.h5", "x.h5", "--model", "lenet5", "--arguments", "{"], "expected JSON"),
        (["own.h5", "x.h5", "--model", "lenet5", "--arguments", "[1]"], "expected names and"),
        (["own.h5"], "required: OUT"),
    ],
)  # fmt: skip
def test_errors_of_convert(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    md.save_weights(net(), "own.h5")
    Path("text.h5").write_text("not weights")
    Path("pickle.pt").write_bytes(b"\x80\x02}q\x00.")
    status, out, err = run(capsys, "convert", *arguments)
    assert (status, out) == (2, "")
    assert re.search(message, err)
    assert err.startswith(("minidl convert: ", "usage: minidl convert"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.h5", "pickle.pt", "text.h5"]


def test_a_damaged_file_leaves_an_old_target(tmp_path, capsys):
    md.save_weights(net(), tmp_path / "x.h5")
    content = bytearray((tmp_path / "x.h5").read_bytes())
    content[-20] ^= 1
    (tmp_path / "x.h5").write_bytes(content)
    (tmp_path / "old.safetensors").write_bytes(b"old")
    status, _, err = run(capsys, "convert", tmp_path / "x.h5", tmp_path / "old.safetensors")
    assert status == 2
    assert "x.h5" in err
    assert (tmp_path / "old.safetensors").read_bytes() == b"old"


def test_what_a_converted_file_no_longer_tells(tmp_path, capsys):
    model = models.lenet5(num_classes=3)
    model.classes, model.task = ["car", "tree", "water"], "labels"
    model.image_format = models.ImageFormat(32, "RGB", 255.0, (0.5,), (0.5,))
    source, there = tmp_path / "labels.h5", tmp_path / "labels.safetensors"
    md.save_weights(model, source)
    status, out, _ = run(capsys, "convert", source, there)
    assert status == 0
    assert out.splitlines()[1] == (
        "weights alone: it doesn't tell which network they are of, what images it takes, the names "
        f"of its classes and that it is for labels, not classes, as {source} does"
    )
    again = ("convert", source, tmp_path / "x.weights.h5")
    assert "weights alone" in run(capsys, *again)[1]
