"""What is frozen, against the order in which layers run; and which rate each parameter gets."""

import numpy as np
import pytest

import minidl as md
from minidl import models, nn, optim
from minidl.errors import ArgumentError
from minidl.train.surgery import freeze_to, rates_by_depth

ZOO = {
    "resnet20": ({}, 32),
    "mobilenet_v1": ({"width": 0.25}, 64),
    "vgg11": ({"input_size": 32, "num_classes": 3}, 32),
    "lenet5": ({}, 32),
    "squeezenet1_1": ({}, 64),
    "minigooglenet": ({}, 32),
    "preact_resnet_cifar": ({"depth": 20}, 32),
}


@pytest.fixture(scope="module")
def zoo():
    """Each network, with the names of its layers with parameters as they end, one after another,
    and of its blocks."""
    made = {}
    for name, (arguments, size) in ZOO.items():
        md.manual_seed(0)
        model = models.create(name, **arguments).eval()
        made[name] = (model, as_they_run(model, size))
    return made


def as_they_run(model, size):
    ended = []
    handles = [
        module.register_forward_hook(lambda module, x, y, name=name: ended.append(name))
        for name, module in model.named_modules()
        if name
    ]
    with md.no_grad():
        model(np.zeros((1, size, size, model.input_shape[2]), np.float32))
    for handle in handles:
        handle.remove()
    return ended


def leaf(module):
    return not list(module.children()) and bool(list(module.parameters()))


def frozen(model):
    """The names of the layers whose parameters aren't trained; none is half frozen."""
    names = []
    for name, module in model.named_modules():
        if leaf(module):
            (trained,) = {p.requires_grad for p in module.parameters()}
            assert module.frozen is not trained, name
            names += [] if trained else [name]
    return names


@pytest.mark.parametrize("name", ZOO)
def test_what_ran_when_a_block_ends_is_frozen_and_no_more(name, zoo):
    model, ended = zoo[name]
    modules = dict(model.named_modules())
    for block in (f"features.{part}" for part, _ in model.features.named_children()):
        ran = {each for each in ended[: ended.index(block) + 1] if leaf(modules[each])}
        names = freeze_to(model, block)
        assert set(names) == set(frozen(model)) == ran
        assert len(names) == len(ran)
    model.unfreeze()
    assert frozen(model) == []


def test_a_layer_inside_a_block(zoo):
    model = zoo["resnet20"][0]
    names = freeze_to(model, "features.2.0")
    assert names == frozen(model)
    assert all(name.startswith(("features.0.", "features.1.", "features.2.0.")) for name in names)
    assert freeze_to(model, names[1]) == frozen(model) == names[:2]


def test_it_undoes_what_was_frozen_before(zoo):
    model = zoo["resnet20"][0]
    model.freeze()
    first = freeze_to(model, "features.1")
    assert freeze_to(model, "features.3") == frozen(model) != first
    assert freeze_to(model, "features.1") == freeze_to(model, "features.1") == first
    assert frozen(model) == first


def test_frozen_batch_normalisations_keep_their_statistics():
    md.manual_seed(0)
    model = models.resnet20().train()
    freeze_to(model, "features.1")
    norms = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    before = {name: norm.running_mean.data.copy() for name, norm in norms}
    random = np.random.default_rng(0)
    model(random.standard_normal((2, 32, 32, 3)).astype(np.float32))
    for name, norm in norms:
        still = name.startswith(("features.0.", "features.1."))
        assert norm.frozen is still
        assert np.array_equal(norm.running_mean.data, before[name]) is still, name


@pytest.mark.parametrize("function", [freeze_to, lambda m, name: rates_by_depth(m, 1.0, name)])
@pytest.mark.parametrize("layer", ["features.9", "feature", "", "features.0.weight"])
def test_an_unknown_layer(function, layer, zoo):
    model = zoo["lenet5"][0].unfreeze()
    with pytest.raises(ArgumentError, match=f"no layer '{layer}'; there are features, features.0,"):
        function(model, layer)
    assert frozen(model) == []


def by_rate(model, groups, lr=1.0):
    """The names of the layers whose parameters a group has, by lr / rate."""
    names = {id(p): name for name, m in model.named_modules() if leaf(m) for p in m.parameters()}
    return {
        round(lr / g["lr"]): list(dict.fromkeys(names[id(p)] for p in g["params"])) for g in groups
    }


@pytest.mark.parametrize("name", ZOO)
def test_the_groups_hold_each_parameter_once(name, zoo):
    model = zoo[name][0]
    model.unfreeze()
    groups = rates_by_depth(model, 0.3)
    body = [n for n, m in model.named_modules() if leaf(m) and n.startswith("features.")]
    third = len(body) // 3  # of LeNet-5's two layers none
    rates = [0.3, 0.3 / 10, 0.3 / 100] if third else [0.3, 0.3 / 100]
    assert [group["lr"] for group in groups] == rates
    held = [id(p) for group in groups for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in model.parameters()}
    parts = by_rate(model, groups, 0.3)
    assert parts.get(10, []) == body[len(body) - third :]
    assert parts[100] == body[: len(body) - third]
    assert all(each.startswith("classifier") for each in parts[1])


@pytest.mark.parametrize(
    ("after", "top"),
    [
        ("features.0", ["features.2"]),
        ("features.1", ["features.2"]),  # a layer without parameters
        ("features.2", []),
        ("features", []),
        ("classifier.0", []),
    ],
)
def test_the_top_begins_after_a_layer(after, top, zoo):
    model = zoo["lenet5"][0].unfreeze()
    parts = by_rate(model, rates_by_depth(model, 1.0, after))
    assert parts[1] == ["classifier.0", "classifier.1", "classifier.2"]
    assert parts.get(10, []) == top
    assert parts[100] == [n for n in ("features.0", "features.2") if n not in top]


def test_what_is_frozen_is_left_out(zoo):
    model = zoo["resnet20"][0]
    names = freeze_to(model, "features.2")
    parts = by_rate(model, rates_by_depth(model, 1.0, "features.2"))
    assert list(parts) == [1, 10]
    assert all(name.startswith("features.3.") for name in parts[10])
    assert not set(names) & {name for part in parts.values() for name in part}
    model.features.freeze()
    assert list(by_rate(model, rates_by_depth(model, 1.0))) == [1]
    model.freeze()
    with pytest.raises(ArgumentError, match=r"every parameter is frozen; model\.unfreeze"):
        rates_by_depth(model, 1.0)


def test_the_heads_of_a_network_with_several():
    with nn.init.skipped():
        model = models.googlenet(num_classes=2, auxiliary=True)
    parts = by_rate(model, rates_by_depth(model, 1.0))
    assert len(list(model.heads())) == 3
    head = {id(p) for each in model.heads() for p in each.parameters()}
    names = {n for n, m in model.named_modules() if leaf(m) and id(next(m.parameters())) in head}
    assert set(parts[1]) == names
    assert not names & {*parts[10], *parts[100]}


def test_an_optimizer_takes_them():
    """AdamW's first step is of about the learning rate's size, whatever the gradient."""
    md.manual_seed(0)
    model = models.lenet5(num_classes=3)
    freeze_to(model, "features.0")
    groups = rates_by_depth(model, 1e-2, "features.0")
    optimizer = optim.AdamW(groups, lr=1e-2, weight_decay=0.0)
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    x = np.random.default_rng(0).standard_normal((4, 32, 32, 1)).astype(np.float32)
    nn.CrossEntropyLoss()(model(x), np.array([0, 1, 2, 0])).backward()
    optimizer.step()
    moved = {n: np.abs(p.data - before[n]).max() for n, p in model.named_parameters()}
    for name, most in moved.items():
        step = 0 if name.startswith("features.0") else 1e-3 if "features" in name else 1e-2
        assert most == pytest.approx(step, rel=1e-2), name
