"""Freezing: what is trained, what batch normalisation does, and what backward leaves out."""

from collections import Counter

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((3, 6, 6, 2)).astype(np.float32)


def body() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False),
        nn.BatchNorm2d(3, activation="tanh"),
        nn.Conv2d(3, 4, 3, activation="tanh"),
        nn.GlobalAvgPool2d(),
    )


def with_head() -> nn.Sequential:
    return nn.Sequential(body(), nn.Linear(4, 2))


def backward_ops(model: nn.Module, x: md.Tensor) -> Counter:
    """How often each primitive runs in the backward pass of the model's sum."""
    loss = model(x).sum()
    ops: Counter = Counter()
    with md.register_op_hook(lambda op, inputs, settings, output: ops.update([op.name])):
        loss.backward()
    return ops


def test_freeze_and_unfreeze_are_properties_of_all_parts():
    model = with_head()
    assert model.freeze() is model
    assert all(module.frozen for module in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    assert model.num_trainable == 0
    assert model.unfreeze() is model
    assert not any(module.frozen for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())
    assert model.num_trainable == model.num_parameters


@pytest.mark.parametrize("before", ["train", "eval"])
@pytest.mark.parametrize("after", ["train", "eval"])
def test_freezing_survives_train_and_eval(before, after):
    model = with_head()
    getattr(model, before)()
    model[0].freeze()
    getattr(model, after)()
    assert model[0][1].frozen
    assert not model[0][1].weight.requires_grad
    assert not model.frozen
    assert model[1].weight.requires_grad


def test_part_of_a_frozen_model_can_be_unfrozen():
    model = with_head().freeze()
    model[0][2].unfreeze()
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        "0.2.weight",
        "0.2.bias",
    ]
    assert model[0][1].frozen


def test_freezing_forgets_gradients():
    model = with_head()
    model(X).sum().backward()
    model[0].freeze()
    assert all(p.grad is None for p in model[0].parameters())
    assert all(p.grad is not None for p in model[1].parameters())


def test_a_frozen_model_gives_no_gradients():
    model = with_head().freeze()
    assert not model(X).requires_grad
    model[1].unfreeze()
    model(X).sum().backward()
    assert all(p.grad is None for p in model[0].parameters())
    assert all(p.grad is not None for p in model[1].parameters())


def test_frozen_batch_norm_keeps_and_uses_its_running_statistics():
    layer = nn.BatchNorm2d(2)
    layer(X * 3 + 1)
    before = layer.state_dict()
    in_training = layer.freeze().train()(X).data
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(layer.eval()(X).data, in_training)
    layer.train().unfreeze()
    assert not np.allclose(layer(X).data, in_training)
    assert not np.array_equal(layer.running_mean.data, before["running_mean"])


def test_frozen_batch_norm_takes_one_value_a_channel():
    layer = nn.BatchNorm1d(2).freeze()
    assert layer(np.ones((1, 2), np.float32)).shape == (1, 2)


def test_frozen_batch_norm_in_the_middle_of_a_training_model():
    model = body()
    model(X)
    model[1].freeze()
    frozen = {f"1.{name}": array for name, array in model[1].state_dict().items()}
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    first = model.state_dict()
    for _ in range(3):
        optimizer.zero_grad()
        (model.train()(X) ** 2).sum().backward()
        optimizer.step()
    for name, array in model.state_dict().items():
        if name in frozen:
            np.testing.assert_array_equal(array, frozen[name])
        else:  # before and behind it: gradients go through
            assert not np.array_equal(array, first[name]), name


def test_gradients_go_through_frozen_layers_as_through_others():
    """To what stands before them: the same as when they are trained."""
    md.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 3), nn.Tanh(), nn.Flatten())
    model(X).sum().backward()
    expected = model[0].weight.grad
    model.zero_grad()
    model[1].freeze()
    model(X).sum().backward()
    np.testing.assert_array_equal(model[0].weight.grad, expected)
    assert model[1].weight.grad is None


def test_a_new_head_in_a_frozen_model_trains():
    model = with_head().freeze()
    model[1] = nn.Linear(4, 3)
    assert model.num_trainable == 15
    before = model.state_dict()
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    loss = nn.CrossEntropyLoss()
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(model.train()(X), np.array([0, 1, 2]))
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
    for name, array in model.state_dict().items():
        assert np.array_equal(array, before[name]) == name.startswith("0."), name


# What backward computes


def test_the_first_layer_computes_no_input_gradient():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 3))
    ops = backward_ops(model, md.tensor(X))
    assert ops["conv2d_weight_grad"] == 2
    assert ops["conv2d_input_grad"] == 1
    ops = backward_ops(model, md.tensor(X, requires_grad=True))
    assert ops["conv2d_input_grad"] == 2


@pytest.mark.parametrize(
    ("layer", "input_op", "weight_op"),
    [
        (nn.Linear(2, 3), "matmul", "linear_weight_grad"),
        (nn.DepthwiseConv2d(2, 3), "depthwise_conv2d_input_grad", "depthwise_conv2d_weight_grad"),
        (nn.ConvTranspose2d(2, 3, 3), "conv2d", "conv2d_weight_grad"),
        (nn.PointwiseConv2d(2, 3), "conv2d_input_grad", "conv2d_weight_grad"),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else "",
)
def test_no_layer_computes_what_is_not_asked_for(layer, input_op, weight_op):
    def products(requires_grad: bool) -> Counter:
        ops = backward_ops(layer, md.tensor(X, requires_grad=requires_grad))
        return Counter({op: n for op, n in ops.items() if op in (input_op, weight_op)})

    layer.unfreeze()
    assert products(requires_grad=True) == Counter([input_op, weight_op])
    assert products(requires_grad=False) == Counter([weight_op])
    layer.freeze()
    assert products(requires_grad=True) == Counter([input_op])


def test_nothing_is_computed_below_the_lowest_unfrozen_parameter():
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 3, 2), nn.Tanh(), nn.Conv2d(3, 2, 2)
    )
    x = md.tensor(X)
    whole = backward_ops(model, x)
    assert (whole["conv2d_weight_grad"], whole["conv2d_input_grad"]) == (3, 2)
    model[0].freeze()
    upper = backward_ops(model, x)
    assert (upper["conv2d_weight_grad"], upper["conv2d_input_grad"]) == (2, 1)
    model[2].freeze()
    head = backward_ops(model, x)
    assert (head["conv2d_weight_grad"], head["conv2d_input_grad"]) == (1, 0)
    last = nn.Sequential(model[4])
    alone = backward_ops(last, md.tensor(model[:4](x).data))
    assert head == alone


def test_a_frozen_layer_between_trained_ones_computes_its_input_gradient_alone():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 2), nn.Conv2d(3, 2, 2))
    model[1].freeze()
    ops = backward_ops(model, md.tensor(X))
    assert (ops["conv2d_weight_grad"], ops["conv2d_input_grad"]) == (2, 2)


def test_nothing_is_recorded_for_a_frozen_model():
    model = with_head().freeze()
    output = model(X)
    with pytest.raises(md.errors.GradError, match="needs no gradient"):
        output.sum().backward()
