"""Which layer of a foreign file goes where in a model, and what is said of those that don't fit."""

import numpy as np
import pytest
from keras_files import layer, legacy, model, numbered, numbers, same
from safetensors.numpy import save_file

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, StateError


class Row(nn.Module):
    """Runs its parts' layers one after the other, in the order they were made."""

    def forward(self, x):
        for module in self.modules():
            x = module(x) if isinstance(module, nn.Linear) else x
        return x


def linears(*names):
    """A model with a Linear of two features at each of these dotted names."""
    top = Row()
    for name in names:
        place = top
        *groups, last = name.split(".")
        for group in groups:
            if not hasattr(place, group):
                setattr(place, group, nn.Module())
            place = getattr(place, group)
        setattr(place, last, nn.Linear(2, 2, bias=False))
    return top


def torch_file(folder, *names, **others):
    """A weight of two rows for each name: that of number i is `square(i)` once loaded."""
    arrays = {f"{name}.weight": square(i).T.copy() for i, name in enumerate(names)}
    save_file(arrays | others, folder / "x.safetensors")
    return folder / "x.safetensors"


def square(i):
    return np.arange(4, dtype=np.float32).reshape(2, 2) + 10 * i


def loaded(net, path, **settings):
    """{name: number of the array} of what was loaded."""
    report = md.load_weights(net, path, **settings)
    numbers_of = {name: int(p.data[0, 0]) // 10 for name, p in net.named_parameters()}
    for name, p in net.named_parameters():
        if name in report.loaded:
            same(p, square(numbers_of[name]))
    return {name.removesuffix(".weight"): numbers_of[name] for name in report.loaded}


# By name and by order


def test_names_decide_whatever_the_order(tmp_path):
    net = linears("head", "stem", "body")
    assert loaded(net, torch_file(tmp_path, "stem", "body", "head")) == {
        "head": 2, "stem": 0, "body": 1,
    }  # fmt: skip


def test_dots_slashes_and_underscores_are_alike(tmp_path):
    net = linears("conv_1.pw", "block1_fc", "a.b.c")
    path = torch_file(tmp_path, "block1/fc", "a_b.c", "conv.1_pw")
    assert loaded(net, path) == {"conv_1.pw": 2, "block1_fc": 0, "a.b.c": 1}


def test_the_rest_by_their_numbers_where_they_run_in_a_row(tmp_path):
    """A safetensors file has no order but its names': layer2 stands before layer10."""
    path = torch_file(tmp_path, "layer10", "layer2", "layer1", "named")
    net = linears("a", "named", "b", "c")
    assert loaded(net, path) == {"a": 2, "named": 3, "b": 1, "c": 0}
    report = md.load_weights(net, path)
    assert report.matched == [
        ("a", "layer1", "numbers"), ("named", "named", "name"), ("b", "layer2", "numbers"),
        ("c", "layer10", "numbers"),
    ]  # fmt: skip


def test_order_alone_is_refused_and_taken_when_told(tmp_path):
    path = torch_file(tmp_path, "encode", "decode")  # which sort the other way round
    net = linears("a", "b")
    before = net.state_dict()
    with pytest.raises(StateError, match="order=True") as caught:
        md.load_weights(net, path)
    assert "  a <- decode\n  b <- encode\n" in str(caught.value)
    np.testing.assert_array_equal(net.state_dict()["a.weight"], before["a.weight"])
    assert loaded(net, path, strict=False) == {}
    assert loaded(net, path, order=True) == {"a": 1, "b": 0}
    report = md.load_weights(net, path, order=True)
    assert "layers matched by order: 2: a <- decode, b <- encode" in str(report)
    assert loaded(net, path, rename={"encode": "a", "decode": "b"}) == {"a": 0, "b": 1}


def test_shapes_tell_layers_apart(tmp_path):
    shapes = [(2, 3), (4, 2), (3, 4)]  # (out, in)
    arrays = {f"part{i}.weight": numbers(*shape, seed=i) for i, shape in enumerate(shapes)}
    save_file(arrays, tmp_path / "x.safetensors")
    net = nn.Sequential(*(nn.Linear(*n, bias=False) for n in ((3, 2), (2, 4), (4, 3))))
    report = md.load_weights(net, tmp_path / "x.safetensors")
    assert {how for _, _, how in report.matched} == {"shape"}
    for part, i in zip(net, (0, 1, 2)):
        same(part.weight, arrays[f"part{i}.weight"].T)


def test_kinds_tell_layers_apart(tmp_path):
    """A linear layer and an embedding of one shape, in the other order."""
    arrays = {
        "layers/dense": [numbers(3, 3, seed=1)], "layers/embedding": [numbers(3, 3, seed=2)],
    }  # fmt: skip
    net = nn.Sequential(nn.Embedding(3, 3), nn.Linear(3, 3, bias=False))
    md.load_weights(net, numbered(tmp_path / "x.weights.h5", arrays))
    same(net[0].weight, numbers(3, 3, seed=2))
    same(net[1].weight, numbers(3, 3, seed=1))


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c", "d")])
def test_no_order_is_guessed_where_there_are_more_or_fewer(names, tmp_path):
    net = linears("x", "y", "z")
    with pytest.raises(StateError) as caught:
        md.load_weights(net, torch_file(tmp_path, *names))
    for name in ("missing: x.weight", "missing: z.weight", *(f"unexpected: {n}" for n in names)):
        assert name in str(caught.value)
    assert loaded(net, torch_file(tmp_path, *names), strict=False) == {}


def test_numbers_are_no_names_unless_all_of_them_agree(tmp_path):
    """PyTorch counts activations as parts, where minidl has them in the layer before."""
    net = nn.Sequential(*(nn.Linear(2, 2, bias=False, activation="relu") for _ in range(3)))
    assert loaded(net, torch_file(tmp_path, "0", "2", "4")) == {"0": 0, "1": 1, "2": 2}


def test_the_first_layers_of_a_longer_row_by_their_numbers(tmp_path):
    """As of a network's features below another head; what is left over is reported."""
    net = linears("features.0", "features.2", "features.4")
    path = torch_file(tmp_path, *(f"features.{i}" for i in (0, 2, 4, 6, 8)))
    assert loaded(net, path, strict=False) == {"features.0": 0, "features.2": 1, "features.4": 2}


def test_numbers_that_are_no_names_are_not_loaded_by_accident(tmp_path):
    """Loosely neither, and above all not as PyTorch has them, transposed."""
    net = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(3)))
    before = [part.weight.data.copy() for part in net]
    report = md.load_weights(net, torch_file(tmp_path, "0", "2", "4", "6"), strict=False)
    assert report.missing == ["0.weight", "1.weight", "2.weight"]
    assert len(report.unexpected) == 4
    for part, array in zip(net, before):
        same(part.weight, array)


def test_a_module_in_two_places(tmp_path):
    """PyTorch's state has it twice, too."""
    net = linears("a")
    net.b = net.a
    path = torch_file(tmp_path, "a", **{"b.weight": square(0).T.copy()})
    assert md.load_weights(net, path).loaded == ["a.weight", "b.weight"]
    same(net.a.weight, square(0))
    assert net.a is net.b


# New names


def test_rename_by_a_dict_of_layers_and_groups(tmp_path):
    net = linears("trunk.one", "trunk.two", "head")
    path = torch_file(tmp_path, "backbone.two", "backbone.one", "fc", "aux")
    rename = {"backbone": "trunk", "fc": "head", "aux": None}
    assert loaded(net, path, rename=rename) == {"trunk.one": 1, "trunk.two": 0, "head": 2}


def test_the_longest_name_of_a_dict_wins(tmp_path):
    net = linears("x.b", "y")
    path = torch_file(tmp_path, "a.b", "a.c", "a.d")
    assert loaded(net, path, rename={"a": "x", "a.c": "y", "a.d": None}) == {"x.b": 0, "y": 1}


def test_rename_changes_two_places(tmp_path):
    net = linears("a", "b")
    assert loaded(net, torch_file(tmp_path, "a", "b"), rename={"a": "b", "b": "a"}) == {
        "a": 1, "b": 0,
    }  # fmt: skip


def test_rename_to_nothing_takes_a_group_away(tmp_path):
    net = linears("a", "b")
    assert loaded(net, torch_file(tmp_path, "net.b", "net.a"), rename={"net": ""}) == {
        "a": 1, "b": 0,
    }  # fmt: skip


def test_rename_by_a_function(tmp_path):
    net = linears("a", "b")
    path = torch_file(tmp_path, "b0", "a0", "skipped")
    rename = {"a0": "a", "b0": "b"}.get
    assert loaded(net, path, rename=rename) == {"a": 1, "b": 0}


def test_two_layers_of_one_new_name_are_refused(tmp_path):
    """As for minidl's own files."""
    net = linears("a", "b")
    path = torch_file(tmp_path, "one", "two")
    with pytest.raises(ArgumentError, match="'a'"):
        md.load_weights(net, path, rename=lambda name: "a")


@pytest.mark.parametrize("prefix", ["module", "module.", "module.net"])
def test_a_prefix_is_taken_away_and_others_are_left_out(prefix, tmp_path):
    rest = "net." if "net" not in prefix else ""
    net = linears(f"{rest}a", f"{rest}b")
    path = torch_file(tmp_path, "module.net.b", "module.net.a", "modules.net.a", "ema.net.a")
    assert loaded(net, path, prefix=prefix) == {f"{rest}a": 1, f"{rest}b": 0}


@pytest.mark.parametrize("form", ["own", "torch"])
def test_a_prefix_that_nothing_has_is_an_error(form, tmp_path):
    net, path = linears("a"), torch_file(tmp_path, "a")
    if form == "own":
        path = tmp_path / "x.h5"
        md.save_weights(net, path)
    with pytest.raises(StateError, match=r"missing: a\.weight"):
        md.load_weights(net, path, prefix="modul")


@pytest.mark.parametrize("settings", [{"prefix": 3}, {"rename": "fc"}, {"rename": ["a", "b"]}])
def test_settings_of_other_types(settings, tmp_path):
    with pytest.raises(ArgumentError, match=next(iter(settings))):
        md.load_weights(linears("a"), torch_file(tmp_path, "a"), **settings)


# What doesn't fit


def small():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 2))


def misfit(folder):
    """A file for `small`: a kernel too large, a bias and a variance missing, one layer too many."""
    state = {
        "0.weight": numbers(4, 2, 3, 3), "0.bias": numbers(3, seed=1), "1.weight": numbers(3),
        "1.bias": numbers(3), "1.running_mean": numbers(3), "2.weight": numbers(2, 3, seed=2),
        "aux.weight": numbers(9, 9), "aux.bias": numbers(9),
    }  # fmt: skip
    save_file(state, folder / "x.safetensors")
    return folder / "x.safetensors"


def test_one_error_lists_all_that_is_wrong_and_nothing_is_loaded(tmp_path):
    net = small()
    before = net.state_dict()
    with pytest.raises(StateError) as caught:
        md.load_weights(net, misfit(tmp_path))
    lines = str(caught.value).splitlines()
    assert [line.strip() for line in lines[1:-1]] == [
        "missing: 1.running_var",
        "missing: 2.bias",
        "unexpected: aux.bias",
        "unexpected: aux.weight",
        "shape of 0.weight: expected (3, 3, 2, 3), got (3, 3, 2, 4)",
    ]
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_loose_loading_takes_the_rest_and_reports_it(tmp_path):
    net = small()
    before = net.state_dict()
    report = md.load_weights(net, misfit(tmp_path), strict=False)
    assert report.loaded == ["0.bias", "1.weight", "1.bias", "1.running_mean", "2.weight"]
    assert report.missing == ["1.running_var", "2.bias"]
    assert report.unexpected == ["aux.bias", "aux.weight"]
    assert report.misshaped == [("0.weight", (3, 3, 2, 3), (3, 3, 2, 4))]
    same(net[2].weight, numbers(2, 3, seed=2).T)
    for name in ("0.weight", "1.running_var", "2.bias"):
        np.testing.assert_array_equal(net.state_dict()[name], before[name])


def test_what_is_loaded_belongs_to_the_model(tmp_path):
    """Contiguous arrays of its own dtype, not views of the file's."""
    net = small().astype(np.float64)
    md.load_weights(net, misfit(tmp_path), strict=False)
    for p in (*net.parameters(), *net.buffers()):
        assert p.data.flags.c_contiguous
        assert p.data.flags.writeable
        assert p.dtype == np.float64


# Settings that the numbers depend on


def block(folder, **settings):
    """A Keras file of a convolution with stride 2 and a normalisation."""
    config = model(
        layer("InputLayer", "in", []),
        layer("Conv2D", "conv", ["in"], strides=[2, 2], padding="same", **settings),
        layer("BatchNormalization", "bn", ["conv"], epsilon=0.0010000000474974513),
    )
    arrays = {
        "conv": {"conv/kernel:0": numbers(3, 3, 2, 3), "conv/bias:0": numbers(3, seed=4)},
        "bn": {f"bn/{role}:0": np.abs(numbers(3, seed=i)) for i, role in
               enumerate(("gamma", "beta", "moving_mean", "moving_variance"))},
    }  # fmt: skip
    return legacy(folder / "x.h5", arrays, config)


def conv_norm(padding="same", eps=1e-3, bias=True):
    return nn.Sequential(nn.Conv2d(2, 3, 3, 2, padding, bias=bias), nn.BatchNorm2d(3, eps))


def test_another_eps_is_refused_with_a_remedy(tmp_path):
    net, path = conv_norm(eps=1e-5), block(tmp_path)
    before = net.state_dict()
    with pytest.raises(StateError, match=r"1: eps is 1e-05, in the file 0\.001: make it with that"):
        md.load_weights(net, path)
    np.testing.assert_array_equal(net.state_dict()["0.weight"], before["0.weight"])
    md.load_weights(conv_norm(), path)  # whose own 1e-3 has more digits


@pytest.mark.parametrize("padding", [1, (1, 1), ((1, 1), (1, 1))])
def test_symmetric_padding_for_same_with_stride_2_is_refused_with_a_remedy(padding, tmp_path):
    path = block(tmp_path)
    with pytest.raises(
        StateError, match=r"0: padding is .* 'same' with stride \[2, 2\].*make it w"
    ):
        md.load_weights(conv_norm(padding), path)


@pytest.mark.parametrize("padding", ["same", ((0, 1), (0, 1))])
def test_the_same_padding_in_other_words_is_taken(padding, tmp_path):
    net = conv_norm(padding)
    md.load_weights(net, block(tmp_path))
    np.testing.assert_array_equal(net[0].weight.data, numbers(3, 3, 2, 3))
    np.testing.assert_array_equal(net[1].running_var.data, np.abs(numbers(3, seed=3)))


def test_another_stride_or_dilation_is_refused(tmp_path):
    net = nn.Sequential(nn.Conv2d(2, 3, 3, 1, "same"), nn.BatchNorm2d(3, 1e-3))
    with pytest.raises(StateError, match=r"0: stride is \(1, 1\), in the file \(2, 2\): make it"):
        md.load_weights(net, block(tmp_path))
    with pytest.raises(StateError, match=r"0: dilation is \(1, 1\), in the file \(3, 3\)"):
        md.load_weights(conv_norm(), block(tmp_path, dilation_rate=[3, 3]))


def test_all_settings_that_differ_are_in_one_error(tmp_path):
    with pytest.raises(StateError) as caught:
        md.load_weights(conv_norm(padding=1, eps=1e-5), block(tmp_path))
    assert "0: padding" in str(caught.value)
    assert "1: eps" in str(caught.value)


@pytest.mark.parametrize("rename", [None, {"conv": "0", "bn": "1"}])
def test_a_bias_is_taken_out_of_the_running_mean_behind_it(rename, tmp_path):
    net = conv_norm(bias=False)
    md.load_weights(net, block(tmp_path), rename=rename)
    expected = np.abs(numbers(3, seed=2)) - numbers(3, seed=4)
    np.testing.assert_allclose(net[1].running_mean.data, expected, rtol=1e-6)


def test_a_bias_before_an_activation_stays_and_is_reported(tmp_path):
    net = conv_norm(bias=False)
    net[0].activation = "relu"
    with pytest.raises(StateError, match=r"unexpected: 0\.bias"):
        md.load_weights(net, block(tmp_path, activation="relu"))
