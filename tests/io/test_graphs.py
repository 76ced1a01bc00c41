"""Layers that are alike, in files that tell their network's graph, and in those that don't."""

import numpy as np
import pytest
from keras_files import layer, legacy, model, numbered, numbers, same
from safetensors.numpy import save_file

import minidl as md
from minidl import models, nn
from minidl.errors import ArgumentError, DTypeError, FileFormatError, StateError
from minidl.io.graph import Vertex, in_run_order, same_places

NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def norm(seed):
    return {role: np.abs(numbers(4, seed=seed + i)) for i, role in enumerate(NORM)}


def named(arrays):
    return {
        name: {f"{name}/{role}:0": array for role, array in own.items()}
        for name, own in arrays.items()
    }


class Block(nn.Module):
    """A residual block whose shortcut stands first or last among its parts."""

    def __init__(self, first):
        parts = {"short": nn.Conv2d(4, 4, 1, bias=False), "short_bn": nn.BatchNorm2d(4, 1e-3)}
        body = {"main": nn.Conv2d(4, 4, 1, bias=False), "main_bn": nn.BatchNorm2d(4, 1e-3),
                "more": nn.Conv2d(4, 4, 1, bias=False)}  # fmt: skip
        for name, part in (parts | body if first else body | parts).items():
            setattr(self, name, part)

    def forward(self, x):
        return self.more(self.main_bn(self.main(x))) + self.short_bn(self.short(x))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("config", [True, False])
def test_a_shortcut_is_known_by_the_graph(config, first, tmp_path):
    arrays = {f"conv2d_{i + 2}": {"kernel": numbers(1, 1, 4, 4, seed=i)} for i in (1, 2, 3)}
    arrays |= {f"batch_normalization_{i + 2}": norm(10 * i) for i in (1, 2)}
    rows = model(
        layer("InputLayer", "in", []), layer("Conv2D", "conv2d_3", ["in"]),
        layer("BatchNormalization", "batch_normalization_3", ["conv2d_3"]),
        layer("Conv2D", "conv2d_4", ["in"]),
        layer("BatchNormalization", "batch_normalization_4", ["conv2d_4"]),
        layer("Conv2D", "conv2d_5", ["batch_normalization_4"]),
        layer("Add", "add", ["conv2d_5", "batch_normalization_3"]),
    )  # fmt: skip
    path = legacy(tmp_path / "x.h5", named(arrays), rows if config else None)
    net = Block(first)
    if not config:
        with pytest.raises(StateError, match="order=True") as caught:
            md.load_weights(net, path)
        assert "short <- conv2d_" in str(caught.value)
        return
    report = md.load_weights(net, path)
    same(net.short.weight, numbers(1, 1, 4, 4, seed=1))
    same(net.main.weight, numbers(1, 1, 4, 4, seed=2))
    same(net.more.weight, numbers(1, 1, 4, 4, seed=3))
    same(net.short_bn.weight, norm(10)["gamma"])
    assert ("short", "conv2d_3", "graph") in report.matched
    assert "layers matched by graph: 5" in str(report)


@pytest.mark.parametrize("named_inside", [True, False])
def test_frozen_layers_of_a_nested_model_that_keras_lists_last(named_inside, tmp_path):
    at = "base/" if named_inside else ""
    inner = {"class_name": "Sequential", "config": {"name": "base", "layers": [
        layer("Conv2D", n, data_format="channels_last") for n in ("first", "second")]}}  # fmt: skip
    pool = layer("GlobalAveragePooling2D", "pool", data_format="channels_last")
    config = model({**inner, "name": "base"}, pool, layer("Dense", "fc"), kind="Sequential")
    arrays = {
        "base": {f"{at}{n}/kernel:0": numbers(1, 1, 3, 3, seed=i)
                 for i, n in ((2, "second"), (1, "first"))},
        "fc": {"fc/kernel:0": numbers(3, 2)},
    }  # fmt: skip
    net = nn.Sequential(
        nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False), nn.GlobalAvgPool2d(),
        nn.Linear(3, 2, bias=False),
    )  # fmt: skip
    md.load_weights(net, legacy(tmp_path / "x.h5", arrays, config))
    same(net[0].weight, numbers(1, 1, 3, 3, seed=1))
    same(net[1].weight, numbers(1, 1, 3, 3, seed=2))


def test_numbers_that_disagree_with_the_file_s_order_prove_nothing(tmp_path):
    arrays = {f"layers/dense{n}": [numbers(2, 2, seed=i)] for i, n in enumerate(("", "_1"))}
    names = {"layers/dense": "dense_7", "layers/dense_1": "dense_6"}
    path = numbered(tmp_path / "x.weights.h5", arrays, names)
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with pytest.raises(StateError, match=r"0 <- dense_7\n  1 <- dense_6\n.*order=True"):
        md.load_weights(net, path)


@pytest.mark.parametrize("kind", ["batch_normalization", "layer_normalization"])
def test_gamma_is_not_known_from_beta_by_its_sign(kind, tmp_path):
    own = [np.array([1.2, -0.3, 0.8], np.float32)]
    if kind == "batch_normalization":
        own += [numbers(3), np.ones(3, np.float32)]
    path = numbered(tmp_path / "x.weights.h5", {f"layers/{kind}": own})
    layer_ = (nn.BatchNorm1d if kind[0] == "b" else nn.LayerNorm)(3, 1e-3)
    with pytest.raises(StateError, match=r"one of gamma and beta.*model\.save\('model\.keras'\)"):
        md.load_weights(nn.Sequential(layer_), path)


def test_keras_1_within_name_scopes(tmp_path):
    arrays = {
        "dense_1": {"global/shared/dense_1_W:0": numbers(3, 4),
                    "global/shared/dense_1_b:0": numbers(4)},
        "batchnormalization_1": {
            f"scope/batchnormalization_1_{r}:0": np.abs(numbers(4, seed=i)) for i, r in
            enumerate(("gamma", "beta", "running_mean", "running_std"))},
        "model_1": {f"global/shared/dense_{i}_{r}:0": numbers(4, 2) if r == "W" else numbers(2)
                    for i in (2,) for r in "Wb"},
    }  # fmt: skip
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, 1e-3), nn.Linear(4, 2))
    md.load_weights(net, legacy(tmp_path / "x.h5", arrays, keras_version="1.2.2"))
    same(net[0].weight, numbers(3, 4))
    same(net[1].running_var, np.abs(numbers(4, seed=3)))
    same(net[2].bias, numbers(2))


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("torch", [True, False])
def test_a_dense_head_and_a_1x1_convolution(torch, dense, tmp_path):
    """dense: in the file."""
    weight = numbers(4, 5)
    head = nn.Conv2d(4, 5, 1, bias=False) if dense else nn.Linear(4, 5, bias=False)
    net = nn.Sequential(nn.GlobalAvgPool2d(keepdims=dense), head)
    if torch:
        stored = weight.T if dense else weight.T[:, :, None, None]
        path = tmp_path / "x.safetensors"
        save_file({"fc.weight": np.ascontiguousarray(stored)}, path)
    else:
        stored = weight if dense else weight[None, None]
        path = legacy(tmp_path / "x.h5", {"fc": {"fc/kernel:0": stored}})
    md.load_weights(net, path, input_shape=(2, 2, 4))
    same(head.weight, weight[None, None] if dense else weight)


# Names


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod."])
def test_the_names_of_wrappers_are_taken_away(prefix, tmp_path):
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    state = {f"{prefix}{n}": np.ascontiguousarray(a.T) for n, a in net.state_dict().items()}
    save_file(state, tmp_path / "x.safetensors")
    other = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    report = md.load_weights(other, tmp_path / "x.safetensors")
    assert {how for _, _, how in report.matched} == {"name"}
    same(other[1].weight, net[1].weight.data)


def test_a_part_of_that_name_keeps_it(tmp_path):
    class Own(nn.Module):
        def __init__(self):
            self.model = nn.Sequential(nn.Linear(3, 2))

        def forward(self, x):
            return self.model(x)

    save_file({"model.0.weight": numbers(2, 3), "model.0.bias": numbers(2)}, tmp_path / "x")
    net = Own()
    assert md.load_weights(net, tmp_path / "x").loaded == ["model.0.weight", "model.0.bias"]


def test_a_safetensors_file_of_a_network_of_the_zoo_is_recognised(tmp_path):
    net = models.lenet5(num_classes=7)
    md.save_weights(net, tmp_path / "x.safetensors", "safetensors")
    loaded = models.load(tmp_path / "x.safetensors")
    assert loaded.architecture[0] == "lenet5"
    assert loaded.num_classes == 7
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name], array)


def test_what_the_errors_advise_works(tmp_path):
    """A dict, and NumPy's .npz."""
    net = models.lenet5()
    md.save_weights(net, tmp_path / "x.safetensors", "safetensors")
    from safetensors.numpy import load_file

    state = load_file(tmp_path / "x.safetensors")
    with pytest.raises(
        DTypeError, match=r"models\.create\(NAME, weights=state\).*save_file\(state"
    ):
        md.load_weights(models.lenet5(), state)
    np.savez(tmp_path / "x.npz", **state)
    with pytest.raises(FileFormatError, match=r"dict\(np\.load\(path\)\).*save_file\(state"):
        md.load_weights(models.lenet5(), tmp_path / "x.npz")
    read = dict(np.load(tmp_path / "x.npz"))
    save_file(read, tmp_path / "weights.safetensors")
    other = models.lenet5()
    md.load_weights(other, tmp_path / "weights.safetensors")
    for made in (other, models.create("lenet5", weights=read)):
        for name, array in net.state_dict().items():
            np.testing.assert_array_equal(made.state_dict()[name], array)
    with pytest.raises(ArgumentError, match="'imagenet'"):
        models.create("lenet5", weights="imagenet")


# Graphs


def chain(names, label="x"):
    return [
        Vertex(name, label, frozenset({(before, 0)}))
        for before, name in zip(["", *names], names, strict=False)
    ]


def test_a_chain_of_equals_is_matched_whatever_the_order_of_its_list():
    assert same_places(chain("abc"), chain("pqr")[::-1]) == {"a": "p", "b": "q", "c": "r"}


def test_equals_in_the_same_place_are_not_matched():
    fork = [*chain("a"), *(Vertex(n, "x", frozenset({("a", 0)})) for n in "bc")]
    assert same_places(fork, fork) == {"a": "a"}
    joined = [*fork, Vertex("d", "y", frozenset({("b", 0), ("c", 1)}))]
    assert same_places(joined, joined) == {n: n for n in "abcd"}
    added = [*fork, Vertex("d", "y", frozenset({("b", 0), ("c", 0)}))]
    assert same_places(added, added) == {"a": "a", "d": "d"}


def test_another_head_does_not_matter_for_what_is_before_it():
    ours = [*chain("abc"), Vertex("h", "head", frozenset({("c", 0)}))]
    theirs = [*chain("pqr"), Vertex("s", "x", frozenset({("r", 0)}))]
    assert same_places(ours, theirs) == {"a": "p", "b": "q", "c": "r"}


def test_run_order():
    before = {v.name: v.before for v in [*chain("abc"), Vertex("d", "x", frozenset({("a", 0)}))]}
    assert in_run_order("cab", before) == ["a", "b", "c"]
    assert in_run_order("bd", before) is None
    assert in_run_order("az", before) is None


def test_numbers_that_count_against_the_run_are_refused(tmp_path):
    """blocks.0 is layers.0 by name, and layers.3 by the order in which they run."""

    class Up(nn.Module):
        def __init__(self):
            self.layers = nn.ModuleList([nn.Linear(7, 7) for _ in range(4)])

        def forward(self, x):
            for part in reversed(list(self.layers)):
                x = part(x)
            return x

    net = Up()
    state = {f"blocks.{i}.weight": numbers(7, 7, seed=i) for i in range(4)}
    state |= {f"blocks.{i}.bias": numbers(7, seed=9 + i) for i in range(4)}
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(StateError, match="only their order"):
        md.load_weights(net, tmp_path / "x.safetensors", input_shape=(7,))
    names = lambda name: name.replace("blocks", "layers")  # noqa: E731
    md.load_weights(net, tmp_path / "x.safetensors", rename=names)
    same(net.layers[3].weight, state["blocks.3.weight"].T)
