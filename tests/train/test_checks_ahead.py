"""What a Trainer refuses before the first epoch: columns and batches that it will lack."""

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
    assigned,
    trainer_of,
)

import minidl as md
from minidl import data, models, nn, optim
from minidl.errors import ArgumentError, DTypeError
from minidl.optim.lr_scheduler import LinearWarmup, ReduceLROnPlateau
from minidl.train import Checkpoint, EarlyStopping, MixUp, Trainer, find_learning_rate

VALIDATION = a_loader(7, shuffle=False)


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
    frozen, plain = a_model(), nn.Sequential(nn.Linear(FEATURES, CLASSES))
    frozen[1].freeze()
    for model, loader, validation in (
        (a_model(), rows_in(33, 16, drop_last=True), None),
        (a_model(), rows_in(34, 16), None),
        (frozen, rows_in(33, 16), None),
        (plain, rows_in(33, 16), None),
        (a_model(), rows_in(4, 2), rows_in(5, 2)),  # it is measured on
    ):
        before = model[0].weight.data.copy()
        trainer = trainer_of(model)
        trainer.fit(loader, 1, validation, progress=False)
        assert trainer.epoch == 1
        assert not np.array_equal(model[0].weight.data, before)


def test_a_callback_that_freezes_what_would_fail():
    freeze = assigned("on_fit_begin", lambda trainer, batches: trainer.model[1].freeze())
    trainer = trainer_of(callbacks=[freeze])
    trainer.fit(rows_in(33, 16), 1, progress=False)
    assert not trainer.model[1].running_mean.data.any()
    assert trainer.epoch == 1


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
