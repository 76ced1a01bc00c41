"""Module: named state, loading and saving it, hooks, the tree, containers."""

import re

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, StateError


class Block(nn.Module):
    """A parameter of its own between two parts, assigned in no alphabetical order."""

    def __init__(self):
        self.second = nn.Linear(3, 2)
        self.scale = nn.Parameter(np.ones(2, np.float32))
        self.count = nn.Buffer(np.zeros(1, np.int64))
        self.first = nn.BatchNorm1d(2)
        self.note = "not state"

    def forward(self, x):
        return self.first(self.second(x)) * self.scale


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3, activation="relu"), Block(), nn.ReLU())


NAMES = [
    "0.weight", "0.bias", "1.scale", "1.count", "1.second.weight", "1.second.bias",
    "1.first.weight", "1.first.bias", "1.first.running_mean", "1.first.running_var",
]  # fmt: skip
BUFFERS = ["1.count", "1.first.running_mean", "1.first.running_var"]


def lenet() -> nn.Sequential:
    """LeCun et al. 1998, every map of one layer connected to every map of the next."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2, activation="tanh"),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5, activation="tanh"),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120, activation="tanh"),
        nn.Linear(120, 84, activation="tanh"),
        nn.Linear(84, 10),
    )


# Names


def test_names_are_ordered_and_complete():
    model = net()
    assert list(model.state_dict()) == NAMES
    assert [name for name, _ in model.named_buffers()] == BUFFERS
    assert [name for name, _ in model.named_parameters()] == [n for n in NAMES if n not in BUFFERS]
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "1.second", "1.first", "2"]
    assert next(model.named_modules(prefix="net")) == ("net", model)
    assert dict(model.named_modules(prefix="net"))["net.1.first"] is model[1].first
    assert [*model.modules()] == [module for _, module in model.named_modules()]
    for found, named in (
        (model.parameters(), model.named_parameters()),
        (model.buffers(), model.named_buffers()),
    ):
        assert [id(t) for t in found] == [id(t) for _, t in named]


def test_state_exists_right_after_construction_and_needs_no_super_init():
    assert Block().state_dict()["second.weight"].shape == (3, 2)


def test_state_names_of_layers():
    def shapes(layer):
        return {name: array.shape for name, array in layer.state_dict().items()}

    linear = {"weight": (3, 2), "bias": (2,)}
    assert shapes(nn.Linear(3, 2)) == linear
    assert shapes(nn.Linear(3, 2, bias=False)) == {"weight": (3, 2)}
    conv = {"weight": (5, 3, 2, 8), "bias": (8,)}
    assert shapes(nn.Conv2d(4, 8, (5, 3), groups=2)) == conv
    transposed = {"weight": (5, 3, 4, 4), "bias": (8,)}
    assert shapes(nn.ConvTranspose2d(4, 8, (5, 3), groups=2)) == transposed
    depthwise = {"weight": (5, 3, 4, 2), "bias": (8,)}
    assert shapes(nn.DepthwiseConv2d(4, (5, 3), multiplier=2)) == depthwise
    assert shapes(nn.PointwiseConv2d(4, 8)) == {"weight": (1, 1, 4, 8), "bias": (8,)}
    separable = nn.SeparableConv2d(4, 6, 3, multiplier=2)
    assert shapes(separable) == {
        "depthwise.weight": (3, 3, 4, 2),
        "pointwise.weight": (1, 1, 8, 6),
        "pointwise.bias": (6,),
    }
    norm = {"weight": (3,), "bias": (3,), "running_mean": (3,), "running_var": (3,)}
    assert shapes(nn.BatchNorm2d(3)) == shapes(nn.BatchNorm1d(3)) == norm
    assert shapes(nn.LayerNorm((2, 3))) == {"weight": (2, 3), "bias": (2, 3)}
    assert shapes(nn.Embedding(5, 3)) == {"weight": (5, 3)}
    for layer, gates, bias in ((nn.RNN, 1, (7,)), (nn.LSTM, 4, (28,)), (nn.GRU, 3, (2, 21))):
        recurrent = {"weight_ih": (5, 7 * gates), "weight_hh": (7, 7 * gates), "bias": bias}
        assert shapes(layer(5, 7)) == recurrent
        assert list(shapes(layer(5, 7))) == list(recurrent)


def test_new_batch_norm_changes_nothing_in_eval_mode():
    state = nn.BatchNorm1d(2).state_dict()
    for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
        np.testing.assert_array_equal(state[name], value)


def test_number_of_parameters_of_lenet():
    model = lenet()
    assert model.num_parameters == model.num_trainable == 61_706
    assert model(np.zeros((2, 28, 28, 1), np.float32)).shape == (2, 10)
    model[0].freeze()
    assert model.num_parameters == 61_706
    assert model.num_trainable == 61_706 - 156


# state_dict and load_state_dict


def test_state_dict_holds_copies():
    model = net()
    before = model.state_dict()
    for array in model.state_dict().values():
        array += 1
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_loading_copies_and_converts():
    model, other = net(), net()
    state = {name: array + 1 for name, array in other.state_dict().items()}
    wide = {name: array.astype(np.float64) for name, array in state.items() if name != "1.count"}
    state |= wide
    assert model.load_state_dict(state) == nn.LoadReport(NAMES, [], [], [])
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name].astype(array.dtype))
        assert array.dtype == (np.int64 if name == "1.count" else np.float32)
    state["0.bias"][:] = 99
    assert (model[0].bias.data != 99).all()


def test_loading_takes_any_kind_of_array():
    model = nn.Linear(2, 3)
    weight = np.arange(6.0).reshape(3, 2)
    weight.flags.writeable = False
    for state in (
        {"weight": weight.T, "bias": [1, 2, 3]},
        {"weight": md.tensor(weight.T.tolist()), "bias": nn.Parameter([1.0, 2.0, 3.0])},
        {"weight": weight.T.astype(np.float16), "bias": np.array([1, 2, 3], np.uint8)},
        {"weight": weight.T.astype(">f4"), "bias": np.arange(1, 4)},
    ):
        model.weight.data[...] = 0
        model.load_state_dict(state)
        np.testing.assert_array_equal(model.weight.data, weight.T)
        np.testing.assert_array_equal(model.bias.data, [1, 2, 3])
        assert model.weight.requires_grad


WRONG = {
    "0.weight": np.zeros((3, 4)),  # transposed
    "1.first.running_var": np.zeros(3),
    "1.second.weights": np.zeros((3, 2)),
    "head.bias": np.zeros(2),
}


def wrong_state(model: nn.Module) -> dict[str, np.ndarray]:
    state = {name: array + 1 for name, array in model.state_dict().items()}
    del state["1.second.weight"], state["1.scale"]
    return state | WRONG


def test_strict_loading_lists_all_that_is_wrong_and_changes_nothing():
    model = net()
    before = model.state_dict()
    with pytest.raises(StateError) as caught:
        model.load_state_dict(wrong_state(model))
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert "doesn't fit Sequential" in lines[0]
    assert lines[1:] == [
        "missing: 1.scale",
        "missing: 1.second.weight",
        "unexpected: 1.second.weights",
        "unexpected: head.bias",
        "shape of 0.weight: expected (4, 3), got (3, 4)",
        "shape of 1.first.running_var: expected (2,), got (3,)",
        "(strict=False loads what fits)",
    ]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("kind", ["missing", "unexpected", "misshaped"])
def test_one_wrong_name_is_enough(kind):
    model = nn.Linear(2, 3)
    state = model.state_dict()
    if kind == "missing":
        del state["bias"]
    state |= {"unexpected": {"scale": np.ones(3)}, "misshaped": {"bias": np.ones(1)}}.get(kind, {})
    with pytest.raises(StateError, match=r"missing: bias|unexpected: scale|\(3,\), got \(1,\)"):
        model.load_state_dict(state)


def test_non_strict_loading_reports():
    model = net()
    before = model.state_dict()
    report = model.load_state_dict(wrong_state(model), strict=False)
    assert report.missing == ["1.scale", "1.second.weight"]
    assert report.unexpected == ["1.second.weights", "head.bias"]
    assert report.misshaped == [
        ("0.weight", (4, 3), (3, 4)),
        ("1.first.running_var", (2,), (3,)),
    ]
    left_alone = {"0.weight", "1.first.running_var", "1.scale", "1.second.weight"}
    assert report.loaded == [name for name in NAMES if name not in left_alone]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name] + (name in report.loaded))
    assert str(report).startswith("6 loaded")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "wrong", [np.array(["a"] * 3), np.ones(3, complex), np.ones(3, "datetime64[s]"), [None] * 3]
)
def test_what_holds_no_numbers_is_not_loaded(wrong, strict):
    model = nn.Linear(2, 3)
    before = model.state_dict()
    state = {"weight": before["weight"] + 1, "bias": wrong}
    with pytest.raises(StateError, match=r"arrays of numbers, got \['bias \("):
        model.load_state_dict(state, strict)
    np.testing.assert_array_equal(model.weight.data, before["weight"])


def test_floats_are_not_loaded_into_integers():
    model = net()
    state = {name: array + 1 for name, array in model.state_dict().items()}
    state["1.count"] = state["1.count"] + 0.5
    with pytest.raises(StateError, match=r"floats into integers: \['1.count \(float64 into int64"):
        model.load_state_dict(state)
    assert not (model[0].bias.data == state["0.bias"]).any()


def test_read_only_arrays_are_replaced():
    """Such as weights mapped from a file: the load is whole."""
    model = net()
    for parameter in model.parameters():
        parameter.data.flags.writeable = False
    state = {name: array + 1 for name, array in model.state_dict().items()}
    model.load_state_dict(state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])


@pytest.mark.parametrize("wrong", ["weights.h5", None, [np.ones(3)]])
def test_only_a_dict_is_loaded(wrong):
    with pytest.raises(DTypeError, match=r"expected a dict of arrays by name, got .*load_weights"):
        net().load_state_dict(wrong)


# Errors


@pytest.mark.parametrize("kind", [list, tuple, lambda parts: dict(enumerate(parts))])
@pytest.mark.parametrize("part", [nn.ReLU(), nn.Parameter([1.0]), nn.Buffer([1.0])])
def test_a_list_of_modules_as_attribute_is_refused(kind, part):
    module = nn.Module()
    text = re.escape("Module.parts = a ") + ".* would hide them .*: use nn.ModuleList or nn.Seq"
    with pytest.raises(ArgumentError, match=text):
        module.parts = kind([1, part])
    module.parts = kind([1, 2])


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match=r"Module has no forward\(\)"):
        nn.Module()(1)


def test_repr_shows_the_tree():
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Sequential(nn.ReLU()), nn.Dropout(0.1))
    model[2].freeze()
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(4, 3, bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        "  (2): Dropout(p=0.1, frozen)\n"
        ")"
    )
