"""safetensors files with PyTorch's names: each number's place, here and there."""

import json

import numpy as np
import pytest
from keras_files import numbers
from safetensors.numpy import load_file, save_file

import minidl as md
from minidl import models, nn
from minidl.errors import ArgumentError, FileFormatError, StateError


def through(model, state, folder):
    """Load PyTorch's `state`, and what minidl writes of it."""
    save_file(state, folder / "in.safetensors")
    md.load_weights(model, folder / "in.safetensors")
    md.save_weights(model, folder / "out.safetensors", "safetensors")
    return load_file(folder / "out.safetensors")


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, strict=True, err_msg=name)


# PyTorch's shapes and what comes of them, number by number


def test_convolutions(tmp_path):
    state = {"0.weight": numbers(6, 2, 3, 2), "0.bias": numbers(6)}  # (out, in/groups, kh, kw)
    model = nn.Sequential(nn.Conv2d(4, 6, (3, 2), groups=2))
    assert_same(through(model, state, tmp_path), state)
    for o, i, y, x in np.ndindex(6, 2, 3, 2):
        assert model[0].weight.data[y, x, i, o] == state["0.weight"][o, i, y, x]


def test_transposed_convolutions(tmp_path):
    state = {"0.weight": numbers(4, 3, 3, 2), "0.bias": numbers(6)}  # (in, out/groups, kh, kw)
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, (3, 2), groups=2))
    assert_same(through(model, state, tmp_path), state)
    for i, o, y, x in np.ndindex(4, 3, 3, 2):
        assert model[0].weight.data[y, x, o, i] == state["0.weight"][i, o, y, x]


@pytest.mark.parametrize(("channels", "multiplier"), [(4, 1), (3, 2), (1, 5), (40, 1)])
def test_depthwise_convolutions(channels, multiplier, tmp_path):
    """Output channel c * multiplier + m belongs to the input channel c."""
    count = channels * multiplier
    state = {"0.weight": numbers(count, 1, 3, 2), "0.bias": numbers(count)}
    model = nn.Sequential(nn.DepthwiseConv2d(channels, (3, 2), multiplier=multiplier))
    assert_same(through(model, state, tmp_path), state)
    for c, m, y, x in np.ndindex(channels, multiplier, 3, 2):
        assert model[0].weight.data[y, x, c, m] == state["0.weight"][c * multiplier + m, 0, y, x]


def test_linear_layers_and_tables(tmp_path):
    state = {"0.weight": numbers(5, 3, seed=1), "1.weight": numbers(2, 3), "1.bias": numbers(2)}
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
    assert_same(through(model, state, tmp_path), state)
    np.testing.assert_array_equal(model[0].weight.data, state["0.weight"])
    np.testing.assert_array_equal(model[1].weight.data, state["1.weight"].T)


def test_square_tables_are_not_turned(tmp_path):
    state = {"words.weight": numbers(4, 4), "0.weight": numbers(4, 4, seed=2)}
    model = nn.Sequential(nn.Linear(4, 4, bias=False))
    model.words = nn.Embedding(4, 4)
    assert_same(through(model, state, tmp_path), state)
    np.testing.assert_array_equal(model.words.weight.data, state["words.weight"])


@pytest.mark.parametrize("shape", [(5,), (3, 5)])
def test_norms(shape, tmp_path):
    state = {"0.weight": numbers(*shape), "0.bias": numbers(*shape, seed=1)}
    assert_same(through(nn.Sequential(nn.LayerNorm(shape)), state, tmp_path), state)


def test_batch_normalisation_whose_count_of_batches_is_left_out(tmp_path):
    roles = ("weight", "bias", "running_mean", "running_var")
    state = {f"0.{role}": numbers(3, seed=i) for i, role in enumerate(roles)}
    counted = state | {"0.num_batches_tracked": np.asarray(7)}
    model = nn.Sequential(nn.BatchNorm2d(3))
    assert_same(through(model, counted, tmp_path), state)
    np.testing.assert_array_equal(model[0].running_var.data, state["0.running_var"])


@pytest.mark.parametrize(("kind", "gates"), [("RNN", "h"), ("LSTM", "ifgo"), ("GRU", "rzn")])
def test_recurrent_layers(kind, gates, tmp_path):
    """PyTorch's gates by name; a GRU's are z, r, h here. Biases that are added become one."""
    hidden, here = 2, {"GRU": "zrn"}.get(kind, gates)
    ih, hh = numbers(len(gates) * hidden, 3), numbers(len(gates) * hidden, hidden, seed=1)
    of_ih, of_hh = numbers(len(gates) * hidden, seed=2), numbers(len(gates) * hidden, seed=3)
    state = {"weight_ih_l0": ih, "weight_hh_l0": hh, "bias_ih_l0": of_ih, "bias_hh_l0": of_hh}
    model = getattr(nn, kind)(3, hidden)
    written = through(model, state, tmp_path)
    for gate in gates:
        theirs = slice(gates.index(gate) * hidden, (gates.index(gate) + 1) * hidden)
        ours = slice(here.index(gate) * hidden, (here.index(gate) + 1) * hidden)
        np.testing.assert_array_equal(model.weight_ih.data[:, ours], ih[theirs].T)
        np.testing.assert_array_equal(model.weight_hh.data[:, ours], hh[theirs].T)
        expected = of_ih[theirs] + of_hh[theirs]
        if kind == "GRU":
            expected = np.stack([of_ih[theirs], of_hh[theirs]])
        np.testing.assert_array_equal(model.bias.data[..., ours], expected)
    if kind != "GRU":
        state |= {"bias_ih_l0": of_ih + of_hh, "bias_hh_l0": np.zeros_like(of_hh)}
    assert_same(written, state)


def test_rows_of_a_flattened_image(tmp_path):
    """PyTorch's row c * H * W + h * W + w is minidl's (h * W + w) * C + c."""
    height, width, channels = 2, 3, 4
    state = {"0.weight": numbers(4, 1, 1, 1), "0.bias": numbers(4), "2.weight": numbers(5, 24)}
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(24, 5, bias=False))
    assert_same(through(model, state, tmp_path), state)
    for c, h, w in np.ndindex(channels, height, width):
        theirs = state["2.weight"][:, c * height * width + h * width + w]
        np.testing.assert_array_equal(model[2].weight.data[(h * width + w) * channels + c], theirs)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d, nn.LayerNorm])
def test_normalisations_of_a_flattened_image(layer, tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), layer(6), nn.Linear(6, 1))
    state = {
        name: numbers(*array.shape[::-1], seed=i)
        for i, (name, array) in enumerate(model.state_dict().items())
    }
    assert_same(through(model, state, tmp_path), state)
    order = [0, 3, 1, 4, 2, 5]  # three pixels of two channels
    for name, array in model.state_dict().items():
        if name.startswith("2."):
            np.testing.assert_array_equal(array, state[name][order], err_msg=name)
    np.testing.assert_array_equal(model[3].weight.data, state["3.weight"].T[order])


@pytest.mark.parametrize("between", [nn.ReLU, nn.Dropout, lambda: nn.MaxPool2d(1)])
def test_rows_of_a_flattened_image_with_layers_between(between, tmp_path):
    state = {"0.weight": numbers(2, 1, 1, 1), "0.bias": numbers(2), "4.weight": numbers(3, 6)}
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1), between(), nn.Flatten(), nn.Dropout(), nn.Linear(6, 3, bias=False)
    )
    assert_same(through(model, state, tmp_path), state)
    order = [0, 3, 1, 4, 2, 5]  # three pixels of two channels
    np.testing.assert_array_equal(model[4].weight.data, state["4.weight"].T[order])


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(1, 2, 1), nn.GlobalAvgPool2d(), nn.Linear(2, 3)],
        [nn.Conv2d(1, 2, 1), nn.GlobalAvgPool2d(True), nn.Flatten(), nn.Linear(2, 3)],
        [nn.Conv2d(1, 2, 1), nn.Linear(2, 3)],  # of each pixel's channels
        [nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(6, 6), nn.Linear(6, 3)],
    ],
)
def test_rows_of_other_linear_layers_stay_in_order(layers, tmp_path):
    model = nn.Sequential(*layers)
    name = f"{len(layers) - 1}.weight"
    state = {
        n: numbers(*array.shape[::-1], seed=i)
        for i, (n, array) in enumerate(model.state_dict().items())
    }
    save_file(state, tmp_path / "x.safetensors")
    md.load_weights(model, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(layers[-1].weight.data, state[name].T)


def test_a_flattened_image_of_unknown_channels_is_an_error_that_says_so(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(6, 3, bias=False))
    state = {"0.weight": numbers(4, 1, 1, 1), "0.bias": numbers(4), "2.weight": numbers(3, 6)}
    save_file(state, tmp_path / "x.safetensors")
    before = model.state_dict()
    with pytest.raises(StateError, match=r"no shape was found.*input_shape="):
        md.load_weights(model, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(model[0].weight.data, before["0.weight"])


# Whole networks


def test_lenet_there_and_back(tmp_path):
    md.manual_seed(1)
    model, other = models.lenet5(), models.lenet5()
    md.save_weights(model, tmp_path / "x.safetensors", "safetensors")
    md.load_weights(other, tmp_path / "x.safetensors")
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array)
    assert models.create("lenet5", tmp_path / "x.safetensors").state_dict().keys() == {
        *model.state_dict()
    }


def test_the_file_says_that_it_is_pytorch_s(tmp_path):
    """What `transformers` and others look for."""
    md.save_weights(nn.Linear(2, 3), tmp_path / "x.safetensors", "safetensors")
    content = (tmp_path / "x.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"] == {"format": "pt"}
    assert header["weight"]["shape"] == [3, 2]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_become_the_model_s(dtype, tmp_path):
    save_file({"weight": numbers(2, 3).astype(dtype), "bias": np.zeros(2, dtype)}, tmp_path / "x")
    model = nn.Linear(3, 2)
    md.load_weights(model, tmp_path / "x")
    expected = numbers(2, 3).astype(dtype).astype(np.float32).T
    np.testing.assert_array_equal(model.weight.data, expected, strict=True)


# What can't be read or written


def raw_file(path, dtype, content):
    """A file of one array, `weight` (2, 3), of bytes as they are."""
    entry = {"dtype": dtype, "shape": [2, 3], "data_offsets": [0, len(content)]}
    header = json.dumps({"weight": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)


def test_bfloat16_is_read_exactly(tmp_path):
    """The upper half of a float32: sign, exponent, seven bits."""
    bits = np.array([0x3F80, 0xC040, 0x0001, 0x7F80, 0x3DCD, 0x8000], "<u2")
    raw_file(tmp_path / "x.safetensors", "BF16", bits.tobytes())
    model = nn.Linear(3, 2, bias=False)
    md.load_weights(model, tmp_path / "x.safetensors")
    expected = np.array([[1, -3, 2.0**-133], [np.inf, 0.10009765625, -0.0]], np.float32)
    np.testing.assert_array_equal(model.weight.data.T, expected)
    assert np.signbit(model.weight.data[2, 1])


def test_types_that_numpy_does_not_have(tmp_path):
    raw_file(tmp_path / "x.safetensors", "F8_E4M3", bytes(6))
    with pytest.raises(FileFormatError, match="convert float8 to float32 first"):
        md.load_weights(nn.Linear(3, 2), tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content[: 8 + 40],
        lambda content: content.replace(b'"F32"', b'"F99"'),
        lambda content: content.replace(b"[2,3]", b"[2,9]"),
        lambda content: content.replace(b'"dtype"', b'"dtyqe"'),
        lambda content: (2**40).to_bytes(8, "little") + content[8:],
        lambda content: (9).to_bytes(8, "little") + content[8:],
    ],
)
def test_damaged_files(harm, tmp_path):
    path, model = tmp_path / "x.safetensors", nn.Linear(3, 2)
    save_file({"weight": numbers(2, 3), "bias": numbers(2)}, path)
    content = path.read_bytes()
    assert harm(content) != content
    path.write_bytes(harm(content))
    before = model.state_dict()
    with pytest.raises(FileFormatError) as caught:
        md.load_weights(model, path)
    assert str(path) in str(caught.value)
    np.testing.assert_array_equal(model.weight.data, before["weight"])


def test_max_bytes(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"weight": numbers(200, 300), "bias": numbers(200)}, path)
    model = nn.Linear(300, 200)
    with pytest.raises(FileFormatError, match="raise max_bytes if you trust the file"):
        md.load_weights(model, path, max_bytes=200_000)
    md.load_weights(model, path, max_bytes=300_000)


def test_a_failed_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")
    bad = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(6, 3))
    with pytest.raises(StateError, match="no shape was found"):
        md.save_weights(bad, path, "safetensors")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


def test_formats_and_compressions_that_there_are_not(tmp_path):
    with pytest.raises(ArgumentError, match="format is one of minidl, keras, safetensors"):
        md.save_weights(nn.Linear(2, 3), tmp_path / "x", "torch")
    with pytest.raises(ArgumentError, match="compression is None or"):
        md.save_weights(nn.Linear(2, 3), tmp_path / "x", "safetensors", "gzip")
    assert not list(tmp_path.iterdir())


def test_a_name_that_says_another_format(tmp_path):
    with pytest.raises(ArgumentError, match='give format="safetensors"'):
        md.save_weights(nn.Linear(2, 2), tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_normalisation_without_scale_and_offset(tmp_path):
    """PyTorch's affine=False: what minidl multiplies by is then 1, and adds is 0."""
    model = nn.BatchNorm1d(3)
    model.weight.data[:], model.bias.data[:] = 5, 5
    mean, var = numbers(3), np.abs(numbers(3, seed=1))
    path = tmp_path / "x.safetensors"
    save_file({"running_mean": mean, "running_var": var}, path)
    md.load_weights(model, path)
    assert (model.weight.data.tolist(), model.bias.data.tolist()) == ([1, 1, 1], [0, 0, 0])
    np.testing.assert_array_equal(model.running_mean.data, mean)
    np.testing.assert_array_equal(model.running_var.data, var)


def test_kerass_names(tmp_path):
    """Arrays called as Keras calls them have Keras's layouts, and their names alone match them."""
    state = {
        "conv_b/bias": numbers(4), "conv_b/kernel": numbers(3, 3, 4, 4),
        "conv_a/kernel": numbers(3, 3, 4, 4), "conv_a/bias": -numbers(4),
        "head/kernel": numbers(4, 2), "head/bias": numbers(2),
    }  # fmt: skip
    save_file(state, tmp_path / "keras.safetensors")

    class Net(nn.Module):
        def __init__(self):
            self.conv_b, self.conv_a = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.conv_b(self.conv_a(x)).mean(axis=(1, 2)))

    model = Net()
    report = md.load_weights(model, tmp_path / "keras.safetensors")
    assert {how for _, _, how in report.matched} == {"name"}
    for name, array in model.state_dict().items():
        layer, _, role = name.partition(".")
        wanted = state[f"{layer}/{'kernel' if role == 'weight' else 'bias'}"]
        np.testing.assert_array_equal(array, wanted, strict=True)
    other = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(StateError):  # two convolutions of one shape, and no order
        md.load_weights(other, tmp_path / "keras.safetensors")
