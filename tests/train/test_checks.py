"""What a Trainer refuses before it trains, since it would train nothing, or something else."""

import copy

import numpy as np
import pytest
from small import (
    CLASSES,
    FEATURES,
    a_loader,
    a_model,
    an_optimizer,
    assert_same_bits,
    assigned,
    trainer_of,
)

from minidl import models, nn, optim
from minidl.errors import ArgumentError, DTypeError
from minidl.optim.lr_scheduler import StepLR
from minidl.train import Callback, EarlyStopping, Trainer

# Types


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"optimizer": nn.MSELoss()}, "an optimizer of minidl.optim, got a MSELoss"),
        ({"optimizer": optim.SGD}, r"got the class SGD: give an object of it, SGD\(\.\.\.\)"),
        ({"optimizer": "adam"}, "an optimizer of minidl.optim, got a str"),
        ({"loss": nn.CrossEntropyLoss}, "loss function, .* got the class CrossEntropyLoss"),
        ({"loss": "mse"}, "loss function, .* got 'mse'"),
        ({"scheduler": StepLR}, "a scheduler of .* got the class StepLR"),
        ({"scheduler": 3}, "a scheduler of .* got a int"),
        ({"scheduler": an_optimizer(a_model())}, "a scheduler of .* got a SGD"),
        ({"scheduler": [1, 2]}, r"one scheduler, got 2: lr_scheduler\.SequentialLR"),
        ({"ema": optim.EMA}, "an optim.EMA, got the class EMA"),
        ({"ema": 0.99}, "an optim.EMA, got a float"),
        ({"callbacks": EarlyStopping()}, r"a list of callbacks, got a EarlyStopping: .*\[\.\.\.\]"),
        ({"callbacks": [EarlyStopping]}, "got the class EarlyStopping"),
        ({"callbacks": [print]}, "objects of subclasses of train.Callback, got a builtin"),
    ],
)
def test_parts_of_the_wrong_type(parts, text):
    with pytest.raises(DTypeError, match=f"Trainer expected .*{text}"):
        trainer_of(**parts)


def test_a_class_for_a_model_or_a_metric():
    with pytest.raises(DTypeError, match=r"a model, an nn\.Module, got the class Linear"):
        Trainer(nn.Linear, None)
    with pytest.raises(ArgumentError, match="metrics are functions"):
        trainer_of(metrics=[nn.MSELoss])


# Parameters


def with_new_head():
    model = models.create("lenet5")
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.replace_head(2)
    return model, optimizer


def with_two_groups():
    model = a_model()
    optimizer = optim.SGD(
        [{"params": list(model[0].parameters())}, {"params": list(model[3].parameters())}], lr=0.1
    )
    optimizer.add_param_group({"params": list(model[1].parameters())})
    model[3] = nn.Linear(8, CLASSES)
    return model, optimizer


def of_the_original():
    model = a_model()
    return copy.deepcopy(model), an_optimizer(model)


def with_a_new_parameter():
    model = a_model()
    optimizer = an_optimizer(model)
    model[0].weight = nn.Parameter(model[0].weight.data)
    return model, optimizer


STALE = [with_new_head, with_two_groups, of_the_original, with_a_new_parameter]


@pytest.mark.parametrize("make", STALE)
def test_an_optimizer_made_before_the_model_changed(make):
    model, optimizer = make()
    before = model.state_dict()
    with pytest.raises(ArgumentError, match="parameters that aren't the model's, of shapes") as e:
        Trainer(model, optimizer)
    assert "group 1" in str(e.value) or make is not with_two_groups
    assert_same_bits(model.state_dict(), before)
    Trainer(model, optim.SGD(model.parameters(), lr=0.1))  # as the error says


def test_the_model_may_change_after_the_trainer_was_made():
    trainer = trainer_of()
    trainer.model[3] = nn.Linear(8, CLASSES)
    with pytest.raises(ArgumentError, match=r"and lacks 3.weight, 3.bias"):
        trainer.fit(a_loader(), 1, progress=False)


def test_an_optimizer_made_before_unfreeze():
    model = a_model()
    model[0].freeze()
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    trainer = Trainer(model, optimizer)
    trainer.fit(a_loader(), 1, progress=False)
    model.unfreeze()
    text = r"doesn't hold 0.weight, 0.bias, which would never be trained: .*unfreeze\(\)"
    for each in (Trainer(model, optimizer), trainer):
        with pytest.raises(ArgumentError, match=text):
            each.fit(a_loader(), 2, progress=False)
    optimizer.add_param_group({"params": list(model[0].parameters())})
    assert len(trainer.fit(a_loader(), 2, progress=False)) == 2


def test_a_callback_that_unfreezes():
    """Says so before the epoch that would leave out what it unfroze."""
    unfreeze = Callback()
    unfreeze.on_epoch_end = lambda trainer, row: trainer.model.unfreeze()
    model = a_model()
    model[0].freeze()
    head = [p for p in model.parameters() if p.requires_grad]
    trainer = Trainer(model, optim.SGD(head, lr=0.1), callbacks=[unfreeze])
    with pytest.raises(ArgumentError, match=r"doesn't hold 0\.weight, 0\.bias"):
        trainer.fit(a_loader(), 3, progress=False)
    assert trainer.epoch == 1
    model = a_model()
    optimizer = an_optimizer(model)  # of all: what is frozen is passed over
    model[0].freeze()
    trainer = Trainer(model, optimizer, callbacks=[unfreeze])
    assert len(trainer.fit(a_loader(), 3, progress=False)) == 3


def test_frozen_parameters_only():
    model = a_model()
    optimizer = an_optimizer(model)
    model.freeze()
    trainer = Trainer(model, optimizer)
    assert "loss" in trainer.evaluate(a_loader())
    with pytest.raises(ArgumentError, match=r"every parameter is frozen, .*: unfreeze\(\)"):
        trainer.fit(a_loader(), 1, progress=False)


def test_shared_weights_are_held_once():
    model = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES))
    model[1].weight = model[0].weight
    assert len(list(model.parameters())) == 3
    trainer_of(model).fit(a_loader(), 1, progress=False)


def test_the_losss_own_parameters():
    class Scaled(nn.Module):
        def __init__(self):
            self.scale = nn.Parameter(np.ones(1, np.float32))

        def forward(self, outputs, target):
            return nn.functional.cross_entropy(outputs * self.scale, target)

    model, loss = a_model(), Scaled()
    both = optim.SGD([*model.parameters(), *loss.parameters()], lr=0.1)
    Trainer(model, both, loss).fit(a_loader(), 1, progress=False)
    assert loss.scale.data[0] != 1
    with pytest.raises(ArgumentError, match=r"doesn't hold loss\.scale"):
        Trainer(model, an_optimizer(model), loss).fit(a_loader(), 1, progress=False)


def test_an_ema_of_another_model():
    model = a_model()
    with pytest.raises(ArgumentError, match=r"the EMA averages parameters that aren't the model's"):
        trainer_of(model, ema=optim.EMA(copy.deepcopy(model)))
    trainer_of(model, ema=optim.EMA(list(model.parameters())[:2]))  # of some of them


def test_without_an_optimizer_it_measures():
    trainer = Trainer(a_model(), None, metrics=["accuracy"])
    assert trainer.evaluate(a_loader()).keys() == {"loss", "accuracy"}
    with pytest.raises(ArgumentError, match="no optimizer"):
        trainer.fit(a_loader(), 1)


# Hooks


class Misspelt(Callback):
    def on_epoch_finish(self, trainer, row): ...


class OfKeras(Callback):
    def on_train_begin(self, logs=None): ...


class Inheriting(Misspelt):
    def on_epoch_end(self, trainer, row): ...


class TooFew(Callback):
    def on_epoch_end(self, row): ...


class Defaults(Callback):
    def on_epoch_end(self, trainer, row, more=None): ...

    def on_batch_end(self, *everything): ...


@pytest.mark.parametrize(
    ("callback", "text"),
    [
        (Misspelt(), "Misspelt.on_epoch_finish is never called: did you mean on_epoch_end"),
        (Inheriting(), "Inheriting.on_epoch_finish is never called"),
        (OfKeras(), "OfKeras.on_train_begin is never called: .* on_fit_begin, on_batch_begin"),
        (assigned("on_batch_finish", print), "Callback.on_batch_finish is never called"),
        (TooFew(), r"TooFew.on_epoch_end must take \(trainer, row\)"),
        (assigned("on_epoch_end", lambda row: 1), r"Callback.on_epoch_end must take"),
    ],
)
def test_hooks_that_are_never_called(callback, text):
    with pytest.raises(ArgumentError, match=text):
        trainer_of(callbacks=[callback])
    trainer = trainer_of()
    trainer.callbacks.append(callback)
    with pytest.raises(ArgumentError, match=text):
        trainer.fit(a_loader(), 1, progress=False)


def test_columns_that_a_callback_adds():
    for columns in ("score", ("score",)):
        note = assigned("on_epoch_end", lambda trainer, row: row.update(score=trainer.epoch))
        note.columns, note.monitor = columns, "what a user's callback calls so"
        stopping = EarlyStopping("score", patience=1, mode="max")
        trainer = trainer_of(callbacks=[note, stopping])
        trainer.fit(a_loader(), 3, progress=False)
        assert stopping.best == 3
        with pytest.raises(ArgumentError, match="monitor='score' is not a column"):
            trainer_of(callbacks=[stopping, note]).fit(a_loader(), 3, progress=False)


def test_callbacks_once_each():
    stopping = EarlyStopping("loss")
    with pytest.raises(ArgumentError, match="the same EarlyStopping is among the callbacks twice"):
        trainer_of(callbacks=[stopping, stopping])
    trainer_of(callbacks=[Defaults(), assigned("on_epoch_end", lambda *_: None), EarlyStopping()])
