"""A frozen body is run once for each image, and nothing else changes."""

import numpy as np
import pytest
from counting import Counting

import minidl as md
from minidl import data, models, nn, optim, train
from minidl.train import frozen_body


def images(count=12, seed=0):
    random = np.random.default_rng(seed)
    return data.ArrayDataset(
        random.standard_normal((count, 32, 32, 3)).astype(np.float32), random.integers(0, 4, count)
    )


def network(frozen=True):
    md.manual_seed(5)
    model = models.resnet20(num_classes=4)
    if frozen:
        model.features.freeze()
    return model


def trainer(model, callbacks=()):
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return train.Trainer(model, optimizer, metrics=["accuracy"], callbacks=callbacks)


class NoShortcut(train.Callback):
    """Replaces no batch, but might."""

    def on_batch_begin(self, trainer, x, target):
        return None


def test_the_body_runs_once_and_the_result_is_that_of_running_it_always():
    fast, slow = network(), network()
    counting = Counting(fast.features[0])
    loader = data.DataLoader(images(), 4, True, seed=3)
    trainer(fast).fit(loader, 5, data.DataLoader(images(8, 1), 4), progress=False)
    # of each loader one image, to know how large features are, and a few in both modes
    assert counting.images == 12 + 8 + 2 * (1 + 2 * frozen_body.FEW)
    loader = data.DataLoader(images(), 4, True, seed=3)
    history = trainer(slow, [NoShortcut()]).fit(
        loader, 5, data.DataLoader(images(8, 1), 4), progress=False
    )
    assert len(history) == 5
    for name, array in slow.state_dict().items():
        np.testing.assert_allclose(fast.state_dict()[name], array, atol=1e-5, err_msg=name)


def test_a_dropout_of_the_head_drops_the_same():
    """Making the features draws no random number."""

    def trained(keep):
        md.manual_seed(5)
        model = models.plain_cnn(num_classes=4, widths=(4, 6), hidden=8)
        assert any(isinstance(module, nn.Dropout) for module in model.classifier)
        model.features.freeze()
        loaders = data.DataLoader(images(), 4, True, seed=3), data.DataLoader(images(8, 1), 4)
        md.config.keep_features = keep
        try:
            trainer(model).fit(loaders[0], 3, loaders[1], progress=False)
        finally:
            md.config.keep_features = True
        return model.state_dict(), md.random.get_state()

    (kept, after), (always, expected) = trained(True), trained(False)
    assert after == expected
    for name, array in always.items():
        np.testing.assert_allclose(kept[name], array, atol=1e-5, err_msg=name)


def test_history_and_loaders_are_as_always():
    model, plain = network(), network()
    loaders = [data.DataLoader(images(), 5, True, seed=3) for _ in range(2)]
    history = trainer(model).fit(loaders[0], 3, loaders[0], progress=False)
    expected = trainer(plain, [NoShortcut()]).fit(loaders[1], 3, loaders[1], progress=False)
    for name in ("loss", "accuracy", "val_loss"):
        np.testing.assert_allclose(history[name], expected[name], atol=1e-5)
    assert loaders[0].state_dict() == loaders[1].state_dict()
    assert loaders[0].dataset.arrays[0].shape == (12, 32, 32, 3)
    assert next(iter(loaders[0]))[0].shape == (5, 32, 32, 3)


@pytest.mark.parametrize("kind", ["unfrozen", "partly", "augmented", "hooked", "large", "list"])
def test_where_a_difference_could_be_seen_the_body_runs_every_time(kind, monkeypatch):
    model = network(frozen=kind != "unfrozen")
    loader = data.DataLoader(images(), 4, True, seed=3)
    if kind == "partly":
        model.features[2].unfreeze()
    if kind == "augmented":
        loader = data.DataLoader(images(), 4, True, seed=3, augment=True)
    if kind == "hooked":
        model.features[1].register_forward_hook(lambda module, x, y: None)
    if kind == "large":
        monkeypatch.setattr(frozen_body, "MOST", 12 * 8 * 8 * 64 * 4 - 1)
    if kind == "list":
        loader = [(x, y) for x, y in data.DataLoader(images(), 4)]
    counting = Counting(model.features[0])
    trainer(model).fit(loader, 2, progress=False)
    assert counting.images >= 24


class Dropping(nn.Module):
    """A layer of a user's that drops in training, by a generator of its own."""

    def forward(self, x):
        keep = np.random.default_rng(3).random(x.shape) < 0.5
        return x * keep.astype(x.dtype) if self.training else x


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.Dropout2d(0.5), Dropping()])
def test_what_drops_in_training_is_no_constant(layer):
    model = network()
    model.features = nn.Sequential(*model.features, layer.freeze())
    counting = Counting(model.features[0])
    trainer(model).fit(data.DataLoader(images(), 4), 2, progress=False)
    assert counting.images == 24 + 1 + 2 * frozen_body.FEW


def test_measuring_other_data_meanwhile(tmp_path):
    """A callback that evaluates on a loader of its own gets what the whole network says."""
    other, found = data.DataLoader(images(6, 2), 3), []

    class Measure(train.Callback):
        def on_epoch_end(self, trainer, row):
            found.append(trainer.evaluate(other)["loss"])
            trainer.save(tmp_path / "c.h5")

    model = network()
    one = trainer(model, [Measure()])
    one.fit(data.DataLoader(images(), 4), 2, progress=False)
    assert found[-1] == pytest.approx(one.evaluate(other)["loss"], abs=1e-6)
    again = trainer(network(), [Measure()]).resume(tmp_path / "c.h5")
    again.fit(data.DataLoader(images(), 4), 4, progress=False)
    one.fit(data.DataLoader(images(), 4), 4, progress=False)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.model.state_dict()[name], array)


def test_an_error_leaves_loaders_and_network_as_they_were():
    class Stop(train.Callback):
        def on_epoch_end(self, trainer, row):
            raise KeyboardInterrupt

    model, loader = network(), data.DataLoader(images(), 4)
    one = trainer(model, [Stop()])
    with pytest.raises(KeyboardInterrupt):
        one.fit(loader, 2, progress=False)
    assert one.running is model
    assert next(iter(loader))[0].shape == (4, 32, 32, 3)
    assert loader.dataset.arrays[0].shape == (12, 32, 32, 3)


class Noisy(data.Dataset):
    """Gives something else each time."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return np.random.default_rng().random((32, 32, 3), np.float32), np.asarray(index % 4)


def noise(images_, rng):
    return images_ + np.float32(np.random.default_rng().random())


@pytest.mark.parametrize("loader", [
    data.DataLoader(Noisy(), 4), data.DataLoader(images(8), 4, transform=[noise]),
])  # fmt: skip
def test_what_may_be_random_is_looked_at_every_time(loader):
    model = network()
    counting = Counting(model.features[0])
    trainer(model).fit(loader, 3, progress=False)
    assert counting.images == 24


def test_unfreezing_in_mid_training_trains_the_body():
    class Unfreeze(train.Callback):
        def on_epoch_end(self, trainer, row):
            if trainer.epoch == 2:
                trainer.model.features.unfreeze()

    model = network()
    before = model.state_dict()
    loader = data.DataLoader(images(), 4, True, seed=3)
    trainer(model, [Unfreeze()]).fit(loader, 2, loader, progress=False)
    body = [name for name in before if name.startswith("features")]
    assert all((model.state_dict()[name] == before[name]).all() for name in body)
    model = network()
    trainer(model, [Unfreeze()]).fit(loader, 4, loader, progress=False)
    assert any((model.state_dict()[name] != before[name]).any() for name in body)
    assert loader.epoch == 12  # each epoch trains on it and measures on it


def test_the_loaders_given_give_images_to_callbacks():
    validation, shapes = data.DataLoader(images(6, 2), 3), []

    class Look(train.Callback):
        def on_epoch_end(self, trainer, row):
            shapes.extend(x.shape for x, _ in validation)
            train.extract_features(trainer.model, "features", validation)

    model = network()
    trainer(model, [Look()]).fit(data.DataLoader(images(), 4), 2, validation, progress=False)
    assert set(shapes) == {(3, 32, 32, 3)}


def test_with_averages_the_whole_network_is_measured():
    model = network()
    one = train.Trainer(model, optim.SGD(model.parameters(), lr=0.05), ema=optim.EMA(model, 0.9))
    counting = Counting(model.features[0])
    one.fit(data.DataLoader(images(), 4), 2, progress=False)
    assert counting.images == 24


def test_a_body_that_gives_nan_is_named():
    model = network(frozen=False)
    next(model.features.parameters()).data[...] = np.inf
    model.features.freeze()
    with pytest.raises(md.errors.GradError, match=r"layer features\.0\S* .* first gives"):
        trainer(model, [train.NaNGuard()]).fit(data.DataLoader(images(), 4), 2, progress=False)
