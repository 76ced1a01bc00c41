"""What a Trainer refuses before it trains, since it would train nothing, or something else."""

import copy

import numpy as np
import pytest
from small import (
    CLASSES,
    FEATURES,
    a_full_trainer,
    a_loader,
    a_model,
    a_schedule,
    an_optimizer,
    arrays,
    assert_same_bits,
)

import minidl as md
from minidl import data, models, nn, optim
from minidl.errors import ArgumentError, DTypeError
from minidl.optim.lr_scheduler import LinearWarmup, ReduceLROnPlateau, StepLR
from minidl.train import Callback, Checkpoint, EarlyStopping, MixUp, Trainer, find_learning_rate

VALIDATION = a_loader(7, shuffle=False)


def trainer_of(model=None, **parts):
    model = a_model() if model is None else model
    return Trainer(model, parts.pop("optimizer", None) or an_optimizer(model), **parts)


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
        ({"scheduler": [1, 2]}, r"one scheduler, got 2: LinearWarmup\(\.\.\., after=\)"),
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


# Schedulers and columns


def test_a_scheduler_of_another_optimizer():
    model = a_model()
    other = a_schedule(an_optimizer(model))
    with pytest.raises(ArgumentError, match="StepLR is of another optimizer"):
        trainer_of(model, scheduler=other)


def plateau(monitor=None, after=False, metrics=("accuracy",), **settings):
    model = a_model()
    optimizer = an_optimizer(model)
    scheduler = ReduceLROnPlateau(optimizer, **settings)
    if after:
        scheduler = LinearWarmup(optimizer, 1, after=scheduler)
    return Trainer(model, optimizer, metrics=metrics, scheduler=scheduler, monitor=monitor)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("settings", "validation", "text"),
    [
        ({"mode": "max"}, VALIDATION, r'say which column ReduceLROnPlateau\(mode="max"\)'),
        ({"mode": "max", "monitor": "val_acc"}, VALIDATION, "monitor='val_acc' is not a column"),
        ({"mode": "max", "monitor": "val_accuracy"}, None, r"give fit a validation loader"),
        ({"monitor": "val_loss"}, None, r"give fit a validation loader"),
        ({"mode": "max", "monitor": "val_loss"}, VALIDATION, 'less is better: .*mode="min"'),
        ({"monitor": "accuracy"}, VALIDATION, 'more is better: give it mode="max"'),
        ({"monitor": "seconds"}, VALIDATION, "monitor='seconds' is not a column"),
    ],
)
def test_what_a_plateau_looks_at_is_known_before_the_first_epoch(settings, validation, text, after):
    with pytest.raises(ArgumentError, match=text):
        plateau(after=after, **settings).fit(a_loader(), 3, validation, progress=False)


@pytest.mark.parametrize(
    ("settings", "validation", "column"),
    [
        ({}, None, "loss"),
        ({}, VALIDATION, "val_loss"),
        ({"monitor": "loss"}, VALIDATION, "loss"),
        ({"mode": "max", "monitor": "val_accuracy"}, VALIDATION, "val_accuracy"),
        ({"mode": "max", "monitor": "accuracy"}, None, "accuracy"),
    ],
)
def test_a_plateau_is_given_that_column(settings, validation, column):
    trainer = plateau(**settings)
    given = []
    step = trainer.scheduler.step
    trainer.scheduler.step = lambda metric: (given.append(metric), step(metric))
    trainer.fit(a_loader(), 3, validation, progress=False)
    assert given == trainer.history[column]


def test_a_negative_loss_on_a_plateau_lowers_the_rate():
    model = a_model()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(
        model, optimizer, loss=lambda outputs, target: outputs.sum() * 0 - 1.0,
        scheduler=ReduceLROnPlateau(optimizer, patience=1),
    )  # fmt: skip
    trainer.fit(a_loader(), 5, progress=False)
    assert trainer.history["lr"] == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01])


def test_monitor_without_a_scheduler_that_looks():
    for schedule in (None, a_schedule):
        model = a_model()
        optimizer = an_optimizer(model)
        with pytest.raises(ArgumentError, match="monitor='loss' is for a scheduler that looks"):
            Trainer(
                model, optimizer, scheduler=schedule and schedule(optimizer), monitor="loss"
            )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda f: EarlyStopping(), "EarlyStopping: monitor='val_loss' .* validation loader"),
        (lambda f: EarlyStopping("val_accuracy", mode="max"), "give fit a validation loader"),
        (lambda f: EarlyStopping("acuracy", mode="max"), "'acuracy' is not a column"),
        (lambda f: Checkpoint(f, monitor="val_loss"), "Checkpoint: .*give fit a validation"),
        (lambda f: Checkpoint(f, monitor="f1", mode="max"), "'f1' is not a column"),
    ],
)
def test_what_callbacks_look_at_is_known_before_the_first_epoch(make, text, tmp_path):
    trainer = trainer_of(metrics=["accuracy"], callbacks=[make(tmp_path)])
    before = trainer.model.state_dict()
    with pytest.raises(ArgumentError, match=text):
        trainer.fit(a_loader(), 1, progress=False)
    assert_same_bits(trainer.model.state_dict(), before)
    assert trainer.epoch == 0


def test_a_direction_that_is_none():
    for name in ("val_accuracy", "accuracy", "rank5", "val_rank5_accuracy", "val_binary_accuracy"):
        with pytest.raises(ArgumentError, match='more is better: give it mode="max"'):
            EarlyStopping(name, mode="min")
    for name in ("loss", "val_loss"):
        with pytest.raises(ArgumentError, match='less is better: give it mode="min"'):
            Checkpoint("x", monitor=name, mode="max")
    assert EarlyStopping("val_my_loss", mode="max").mode == "max"  # nobody knows


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


def assigned(name, hook):
    callback = Callback()
    setattr(callback, name, hook)
    return callback


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


# Data


def rows_in(count, size, **settings):
    return data.DataLoader(data.ArrayDataset(*arrays(count)), size, **settings)


@pytest.mark.parametrize(
    ("loader", "mend"),
    [
        (rows_in(33, 16), "33 rows in batches of 16: give the DataLoader drop_last=True"),
        (rows_in(33, 16, shuffle=True), "drop_last=True"),
        (rows_in(8, 1), "give it batches of two rows or more"),
        (rows_in(1, 4), "give it batches of two rows or more"),
        ([tuple(a[i : i + 4] for a in arrays(9)) for i in (0, 4, 8)], "drop_last=True"),
    ],
)
def test_a_last_batch_of_one_row(loader, mend):
    trainer = trainer_of()
    before = trainer.model.state_dict()
    with pytest.raises(ArgumentError, match=rf"one row, from which 1 \(BatchNorm\).*{mend}"):
        trainer.fit(loader, 1, progress=False)
    assert_same_bits(trainer.model.state_dict(), before)


def test_one_row_where_it_does_no_harm():
    for loader in (rows_in(33, 16, drop_last=True), rows_in(34, 16)):
        trainer_of().fit(loader, 1, progress=False)
    model = a_model()
    model[1].freeze()
    trainer_of(model).fit(rows_in(33, 16), 1, progress=False)
    plain = nn.Sequential(nn.Linear(FEATURES, CLASSES))
    trainer_of(plain).fit(rows_in(33, 16), 1, progress=False)
    trainer_of().fit(rows_in(4, 2), 1, rows_in(5, 2), progress=False)  # it is measured on


def test_a_callback_that_freezes_what_would_fail():
    freeze = assigned("on_fit_begin", lambda trainer, batches: trainer.model[1].freeze())
    trainer_of(callbacks=[freeze]).fit(rows_in(33, 16), 1, progress=False)


def images(count, size):
    random = np.random.default_rng(0)
    x = random.standard_normal((count, 6, 6, 1)).astype(np.float32)
    return data.DataLoader(data.ArrayDataset(x, random.integers(0, 2, count)), size)


def test_over_a_frozen_body_too():
    """Whose features alone go through the head, which ends in a batch of one row."""
    model = models.create("lenet5", num_classes=2)
    model.classifier = nn.Sequential(*model.classifier, nn.BatchNorm1d(2))
    model.features.freeze()
    head = [p for p in model.parameters() if p.requires_grad]
    random = np.random.default_rng(0)
    x = random.standard_normal((5, 32, 32, 1)).astype(np.float32)
    pairs = data.ArrayDataset(x, random.integers(0, 2, 5))
    trainer = Trainer(model, optim.SGD(head, lr=0.1))
    with pytest.raises(ArgumentError, match="drop_last=True"):
        trainer.fit(data.DataLoader(pairs, 4), 1, progress=False)
    trainer.fit(data.DataLoader(pairs, 4, drop_last=True), 1, progress=False)


def test_one_image_has_many_values_a_channel():
    """Unless its map is 1x1."""
    whole = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 16, 2)
    )  # fmt: skip
    trainer_of(whole).fit(images(5, 4), 1, progress=False)
    point = nn.Sequential(
        nn.Conv2d(1, 4, 6), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2)
    )  # fmt: skip
    with pytest.raises(ArgumentError, match=r"from which 1 \(BatchNorm\)"):
        trainer_of(point).fit(images(5, 4), 1, progress=False)


def test_looking_ahead_changes_nothing():
    trainer, loader = trainer_of(), rows_in(33, 16, seed=0, shuffle=True)
    states, drawn = [loader.state_dict(), trainer.model.state_dict()], md.random.get_state()
    with pytest.raises(ArgumentError, match="drop_last"):
        trainer.fit(loader, 1, progress=False)
    assert md.random.get_state() == drawn
    assert loader.state_dict() == states[0]
    assert_same_bits(trainer.model.state_dict(), states[1])


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (data.ArrayDataset(*arrays()), DTypeError, "the data set itself, ArrayDataset: wrap it in"),
        ((batch for batch in a_loader()), DTypeError, "a generator, which ends after the first"),
        (iter(a_loader()), DTypeError, "ends after the first"),
        (arrays(), ArgumentError, r"expected batches \(x, target\), got"),
        (data.DataLoader, DTypeError, "the class DataLoader"),
        (3, DTypeError, "a loader of batches, got a int"),
        ([], ArgumentError, "has no batches"),
    ],
)
@pytest.mark.parametrize("place", ["fit", "validation"])
def test_what_is_no_loader(given, error, text, place):
    trainer = trainer_of()
    loaders = [given, None] if place == "fit" else [a_loader(), given]
    with pytest.raises(error, match=text):
        trainer.fit(loaders[0], 1, loaders[1], progress=False)
    assert trainer.epoch == 0


def test_a_full_trainer_passes_all_checks():
    trainer = a_full_trainer(callbacks=[EarlyStopping(), MixUp(1.0, num_classes=CLASSES)])
    trainer.fit(a_loader(), 2, VALIDATION, progress=False)
    assert trainer.epoch == 2


def test_finding_a_rate_looks_at_the_last_batch_too():
    model = a_model()
    with pytest.raises(ArgumentError, match="drop_last=True"):
        find_learning_rate(model, an_optimizer(model), rows_in(33, 16))
