"""ClipGradients and NaNGuard."""

import math

import numpy as np
import pytest
from small import a_full_trainer, a_loader, a_model, an_optimizer, arrays, bits, everything

from minidl import data, nn, ops, optim
from minidl.errors import ArgumentError, GradError
from minidl.train import Callback, Trainer
from minidl.train.guards import ClipGradients, NaNGuard


def gradients(*callbacks):
    """Of the first batch, in float64."""
    found = []
    note = Callback()
    note.on_backward_end = lambda trainer: found.append(
        [p.grad.astype(np.float64) for p in trainer.model.parameters()]
    )
    model = a_model()
    trainer = Trainer(model, an_optimizer(model), callbacks=[*callbacks, note])
    trainer.fit(a_loader(), 1, progress=False)
    return found[0]


def norm(arrays):
    return math.sqrt(math.fsum((a**2).sum() for a in arrays))


def test_clipping_by_norm():
    plain = gradients()
    for limit in (0.5 * norm(plain), 2 * norm(plain)):
        clipped = gradients(ClipGradients(max_norm=limit))
        factor = min(1, limit / norm(plain))
        for a, b in zip(clipped, plain, strict=True):
            np.testing.assert_allclose(a, b * factor, rtol=1e-4, atol=1e-7)


def test_clipping_by_value():
    for a, b in zip(gradients(ClipGradients(max_value=0.01)), gradients(), strict=True):
        np.testing.assert_array_equal(a, b.clip(-np.float32(0.01), np.float32(0.01)))


def test_only_the_optimizers_parameters_are_clipped():
    model = a_model()
    trainer = Trainer(model, optim.SGD(model[3].parameters(), lr=0.1))
    x, labels = next(iter(a_loader()))
    trainer.loss(model(x), labels).backward()
    ClipGradients(max_value=1e-9).on_backward_end(trainer)
    assert np.abs(model[3].weight.grad).max() <= 1e-9
    assert np.abs(model[0].weight.grad).max() > 1e-9


@pytest.mark.parametrize(
    "settings",
    [{}, {"max_norm": 1, "max_value": 1}, {"max_norm": 0}, {"max_value": -1}, {"max_norm": "1"}],
)
def test_bad_limits(settings):
    with pytest.raises(ArgumentError, match="ClipGradients: "):
        ClipGradients(**settings)


# NaNGuard


class Root(nn.Module):
    """NaN below 0; `squared`, its slope is NaN at 0."""

    def __init__(self, squared=False):
        self.squared = squared

    def forward(self, x):
        return ops.sqrt(x * x if self.squared else x)


def a_net(middle=None):
    return nn.Sequential(
        nn.Linear(5, 8), nn.Sequential(nn.Tanh(), middle or nn.Tanh()), nn.Linear(8, 3)
    )


def fails(model, loader, epochs=3, loss=None, **settings):
    trainer = Trainer(
        model, optim.SGD(model.parameters(), **{"lr": 0.1, **settings}), loss,
        callbacks=[NaNGuard()],
    )  # fmt: skip
    with np.errstate(all="ignore"), pytest.raises(GradError) as caught:
        trainer.fit(loader, epochs, progress=False)
    return str(caught.value), trainer


def test_the_layer_is_named():
    text, _ = fails(a_net(Root()), a_loader())
    assert text == (
        "layer 1.1 (Root) first gives NaN at epoch 1, batch 1; it has no weights: look at what it "
        "computes"
    )


def test_a_broken_weight_is_named():
    model = a_net()
    model[2].weight.data[3, 1] = np.nan
    text, _ = fails(model, a_loader())
    assert text.startswith("layer 2 (Linear) first gives NaN at epoch 1, batch 1; its weight holds")
    model = a_net()
    model[0].bias.data[1] = np.inf
    model[0].weight.data[0, 0] = np.nan
    text, _ = fails(model, a_loader())
    assert "layer 0 (Linear) first gives NaN" in text
    assert "its weight holds NaN, its bias holds inf: an earlier step broke it" in text


def test_an_overflow_in_a_layer_whose_weights_are_finite():
    x, labels = arrays()
    x[9] = 3e38
    model = nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3))
    model[0].weight.data[...] = 10
    text, trainer = fails(model, data.DataLoader(data.ArrayDataset(x, labels), 4))
    assert text.startswith("layer 0 (Linear) first gives inf at epoch 1, batch 3; its weights are")
    assert trainer.progress.batch == 2


def test_bad_data_are_named():
    x, labels = arrays()
    for bad, name in ((np.inf, "inf"), (np.nan, "NaN")):
        x[9, 2] = bad
        text, _ = fails(nn.Linear(5, 3), data.DataLoader(data.ArrayDataset(x, labels), 4))
        assert text.startswith(f"the inputs hold {name} at epoch 1, batch 3, so the loss is nan")


def test_the_loss_function_is_named():
    def loss(outputs, target):
        return ops.log(ops.relu(outputs).sum() * 0)

    text, _ = fails(a_net(), a_loader(), loss=loss)
    assert text.startswith("the loss is -inf at epoch 1, batch 1, but all layers' outputs are")


def test_a_bad_gradient_is_named_before_the_step():
    model = nn.Sequential(nn.Linear(5, 8), Root(squared=True), nn.Linear(8, 3))
    model[0].weight.data[...] = 0
    before = bits(model.state_dict())
    text, trainer = fails(model, a_loader())
    assert text.startswith("the gradient of 0.weight, of layer 0 (Linear), holds NaN at epoch 1,")
    assert bits(trainer.model.state_dict()) == before


def test_the_batch_and_epoch_are_those_of_the_training():
    losses = iter([1.0] * 8 + [math.nan])
    text, trainer = fails(
        a_net(), a_loader(), loss=lambda outputs, target: outputs.sum() * 0 + next(losses)
    )
    assert "the loss is nan at epoch 2, batch 3, but all layers' outputs" in text
    assert trainer.history["epoch"] == [1]


def test_the_diagnosis_leaves_the_model_alone():
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), Root())
    seen = []
    look = Callback()
    look.on_bad_loss = lambda trainer, *facts: seen.append(bits(trainer.model.state_dict()))
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1), callbacks=[look, NaNGuard()])
    with np.errstate(all="ignore"), pytest.raises(GradError, match=r"layer 3 \(Root\)"):
        trainer.fit(a_loader(), 1, progress=False)
    assert seen == [bits(model.state_dict())]
    assert not any(module._forward_hooks for module in model.modules())


def test_large_finite_gradients_are_no_alarm():
    trainer = Trainer(a_model(), None)
    for p in trainer.model.parameters():
        p.grad = np.full(p.shape, 3e38, np.float32)
    NaNGuard().on_backward_end(trainer)
    assert all((p.grad == np.float32(3e38)).all() for p in trainer.model.parameters())
    p.grad[..., 0] = np.inf
    with pytest.raises(GradError, match="inf"):
        NaNGuard().on_backward_end(trainer)


def test_a_healthy_training_is_not_changed():
    ends = []
    for callbacks in ([], [NaNGuard()]):
        trainer = a_full_trainer(callbacks=callbacks)
        trainer.fit(a_loader(), 2, progress=False)
        ends.append(everything(trainer))
    assert ends[0] == ends[1]


def test_what_the_model_itself_computes_is_named_as_such():
    class Net(nn.Module):
        def __init__(self):
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            return ops.log(self.head(x) * 0 - 1)

    text, _ = fails(Net(), a_loader())
    assert text.startswith("the model (Net) first gives NaN at epoch 1, batch 1; its weights are")
