"""Measuring: right numbers, and everything left as it was."""

import numpy as np
import pytest
from small import ROWS, a_loader, a_model, an_optimizer, arrays, assert_same_bits, softmax_loss

from minidl import data, nn, optim
from minidl.errors import ArgumentError
from minidl.train import Trainer


def a_trained(with_ema=True):
    model = a_model()
    ema = optim.EMA(model, 0.9) if with_ema else None
    trainer = Trainer(model, an_optimizer(model), metrics=["accuracy"], ema=ema)
    trainer.fit(a_loader(), 2, progress=False)
    return trainer


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


def mix_modes(model):
    """Training mode on the whole, but for one part: what a careful user may have set."""
    model.train()
    model[1].eval()
    return modes(model)


def averaged(trainer):
    """A copy of the model with the averaged weights, in evaluation mode."""
    copy = a_model()
    copy.load_state_dict(trainer.ema.state_dict()["averages"])
    return copy.eval()


@pytest.mark.parametrize("measure", ["evaluate", "predict"])
@pytest.mark.parametrize("with_ema", [True, False])
def test_all_is_left_as_it_was(measure, with_ema):
    trainer = a_trained(with_ema)
    before, own = trainer.model.state_dict(), [p.data for p in trainer.model.parameters()]
    mixed = mix_modes(trainer.model)
    assert set(mixed.values()) == {True, False}
    getattr(trainer, measure)(a_loader())
    assert modes(trainer.model) == mixed
    assert_same_bits(trainer.model.state_dict(), before)
    assert all(p.data is array for p, array in zip(trainer.model.parameters(), own, strict=True))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("measure", ["evaluate", "predict"])
def test_also_after_an_exception(measure, error):
    trainer = a_trained()
    before, mixed = trainer.model.state_dict(), mix_modes(trainer.model)
    weights = []

    def fail(model, inputs, output):
        weights.append(model.state_dict())
        if len(weights) == 2:
            raise error

    with trainer.model.register_forward_hook(fail), pytest.raises(error):
        getattr(trainer, measure)(a_loader())
    assert_same_bits(weights[1], trainer.ema.state_dict()["averages"])
    assert modes(trainer.model) == mixed
    assert_same_bits(trainer.model.state_dict(), before)
    assert trainer.model(arrays()[0]).requires_grad  # recording is on again


def test_evaluate_is_the_mean_over_all_rows_of_the_averaged_model():
    trainer = a_trained()
    x, labels = arrays()
    outputs = averaged(trainer)(x).data
    expected = {
        "loss": pytest.approx(softmax_loss(outputs, labels), rel=1e-5),
        "accuracy": pytest.approx((outputs.argmax(axis=1) == labels).mean()),
    }
    for batch_size in (ROWS, 4, 3):
        assert trainer.evaluate(a_loader(batch_size=batch_size)) == expected
    trainer.ema = None
    trained = trainer.model.eval()(x).data
    assert trainer.evaluate(a_loader()) != expected
    assert trainer.evaluate(a_loader())["loss"] == pytest.approx(softmax_loss(trained, labels))


def test_predict_gives_outputs_in_order():
    trainer = a_trained()
    x, labels = arrays()
    expected = averaged(trainer)(x).data
    pairs = a_loader(shuffle=False)
    x_alone = data.DataLoader(data.ArrayDataset(x), 4)
    for loader in (pairs, x_alone, [x[:9], x[9:]], [(x[:1],), [x[1:], labels[1:]]]):
        outputs = trainer.predict(loader)
        assert outputs.dtype == np.float32
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_nothing_is_recorded():
    trainer = a_trained()
    needed = []

    def note(model, inputs, output):
        needed.append(output.requires_grad)

    with trainer.model.register_forward_hook(note):
        trainer.evaluate(a_loader())
        trainer.predict(a_loader())
    assert needed == [False] * 12


def test_nothing_to_measure():
    trainer = a_trained()
    for measure in (trainer.evaluate, trainer.predict):
        with pytest.raises(ArgumentError, match=rf"{measure.__name__}: the loader has no batches"):
            measure([])
    assert all(modes(trainer.model).values())


def test_a_model_that_outgrew_its_averages_is_refused_and_left_alone():
    trainer = a_trained()
    trainer.model[3] = nn.Linear(8, 4)
    mixed = mix_modes(trainer.model)
    with pytest.raises(ValueError, match="make a new EMA"):
        trainer.evaluate(a_loader())
    assert modes(trainer.model) == mixed
