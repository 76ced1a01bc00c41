"""Extracted features: those of running the body by hand, and nothing else changes."""

import numpy as np
import pytest
from small import bits

import minidl as md
from minidl import data, models, nn
from minidl.data.dataset import LabelledImages
from minidl.errors import ArgumentError
from minidl.train.features import extract_features

CLASSES = ["ant", "bee", "cat", "dog"]
ROWS = 11


def images(rows=ROWS, channels=3):
    random = np.random.default_rng(1)
    x = random.standard_normal((rows, 32, 32, channels)).astype(np.float32)
    return LabelledImages(x, random.integers(0, 4, rows), CLASSES)


def loader(rows=ROWS, **settings):
    return data.DataLoader(images(rows), 4, **settings)


@pytest.fixture(scope="module")
def trained():
    """A network in training mode, with statistics that aren't the first ones, one part frozen."""
    md.manual_seed(4)
    model = models.resnet20(num_classes=4).train()
    model(images().arrays[0])
    model.features[0].freeze().eval()
    return model


@pytest.fixture
def model(trained):
    """It must come out as it went in."""
    before = everything(trained)
    yield trained
    assert everything(trained) == before


def everything(model):
    modes = [(m.training, m.frozen, tuple(m._forward_hooks)) for m in model.modules()]
    gradients = [(p.requires_grad, p.grad is None) for p in model.parameters()]
    return bits(model.state_dict()), repr(modes), gradients


def by_hand(model, layer="features"):
    """Of all images at once, by a copy in evaluation mode."""
    copy = models.resnet20(num_classes=4)
    copy.load_state_dict(model.state_dict())
    copy.eval()
    last = 3 if layer == "features" else int(layer[9])
    with md.no_grad():
        x = md.Tensor(images().arrays[0])
        for part in list(copy.features)[: last + 1]:
            x = part(x)
    return x.data


@pytest.mark.parametrize(
    ("layer", "shape"), [("features", (8, 8, 64)), ("features.3", (8, 8, 64)),
                         ("features.1", (32, 32, 16))],
)  # fmt: skip
def test_features_are_those_of_the_body_by_hand(layer, shape, model):
    expected = by_hand(model, layer)
    whole = extract_features(model, layer, loader(), pool=False)
    assert type(whole) is data.ArrayDataset
    assert whole.arrays[0].dtype == np.float32
    assert whole.arrays[0].shape == (ROWS, *shape)
    nearly = {"rtol": 1e-5, "atol": 1e-5 * expected.max()}
    np.testing.assert_allclose(whole.arrays[0], expected, **nearly)
    np.testing.assert_array_equal(whole.arrays[1], images().labels)
    pooled = extract_features(model, layer, loader())
    mean = expected.astype(np.float64).mean(axis=(1, 2))
    np.testing.assert_allclose(pooled.arrays[0], mean, **nearly)


def test_what_has_no_maps_is_not_pooled(model):
    features = extract_features(model, "classifier", loader())
    assert features.arrays[0].shape == (ROWS, 4)


def test_in_the_loaders_order_with_its_transforms(model):
    def half(x, rng):
        assert rng is None
        return x / np.float32(2)

    shuffled = extract_features(model, "features.1", loader(shuffle=True, seed=3, transform=[half]))
    same = loader(shuffle=True, seed=3, transform=[half])
    x, labels = (np.concatenate(parts) for parts in zip(*same, strict=True))
    np.testing.assert_array_equal(shuffled.arrays[1], labels)
    plain = extract_features(model, "features.1", [(x, labels)])
    np.testing.assert_allclose(shuffled.arrays[0], plain.arrays[0], atol=1e-5)


def test_nothing_behind_the_layer_is_computed(model, monkeypatch):
    ran, plain = [], nn.Module.__call__

    def counted(module, *inputs, **settings):
        ran.append(type(module).__name__)
        return plain(module, *inputs, **settings)

    monkeypatch.setattr(nn.Module, "__call__", counted)
    extract_features(model, "features.0", loader())
    body = [type(model).__name__, "Sequential", "ConvBlock"]
    assert [name for name in ran if name in body] == 3 * body
    assert "Linear" not in ran
    assert ran.count("Conv2d") == 3  # a batch each; the first block has one convolution


def test_hooks_of_the_model_are_heard_and_stay(model):
    heard = []
    with model.features[1].register_forward_hook(lambda module, x, y: heard.append(len(y))):
        extract_features(model, "features", loader())
        assert len(model.features[1]._forward_hooks) == 1
    assert heard == [4, 4, 3]


def test_the_same_in_a_file(tmp_path, model):
    file = tmp_path / "features.h5"
    kept = extract_features(model, "features", loader(), out=file)
    assert type(kept) is data.HDF5Dataset
    expected = extract_features(model, "features", loader())
    again = data.HDF5Dataset(file)
    for found in (kept, again):
        assert found.classes == CLASSES
        for got, wanted in zip(found.batch(range(ROWS)), expected.arrays, strict=True):
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)
    assert [path.name for path in tmp_path.iterdir()] == ["features.h5"]


def test_without_names_of_classes(tmp_path, model):
    batches = list(loader())
    kept = extract_features(model, "features", batches, out=tmp_path / "f.h5", pool=False)
    assert kept.classes is None
    assert kept.shape == (8, 8, 64)
    assert len(kept) == ROWS


def test_an_older_file_stays_unless_overwrite_is_said(tmp_path, model):
    file = tmp_path / "features.h5"
    file.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="overwrite"):
        extract_features(model, "features", loader(), out=file)
    assert file.read_bytes() == b"mine"
    assert len(extract_features(model, "features", loader(), out=file, overwrite=True)) == ROWS


@pytest.mark.parametrize("out", [None, "features.h5"])
@pytest.mark.parametrize(
    ("layer", "batches", "message"),
    [
        ("features.7", loader(), r"no layer 'features\.7'; there are features, features\.0,"),
        ("", loader(), "no layer ''"),
        ("features", [], "the loader has no batches"),
    ],
)
def test_errors(layer, batches, message, out, tmp_path, model):
    with pytest.raises(ArgumentError, match=f"extract_features: .*{message}"):
        extract_features(model, layer, batches, out=out and tmp_path / out)
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_is_not_run():
    class Odd(nn.Module):
        def __init__(self):
            self.used, self.spare = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            return self.used(x)

    x = np.ones((5, 3), np.float32)
    batches = [(x, np.arange(5))]
    with pytest.raises(ArgumentError, match="spare isn't run"):
        extract_features(Odd(), "spare", batches)
    assert extract_features(Odd(), "used", batches).arrays[0].shape == (5, 2)


@pytest.mark.parametrize("good", [0, 2])
def test_an_error_of_the_loader_leaves_no_file(good, tmp_path, model):
    file = tmp_path / "features.h5"

    def failing():
        yield from list(loader())[:good]
        raise OSError(5, "the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        extract_features(model, "features", failing(), out=file)
    assert list(tmp_path.iterdir()) == []
    # and nothing is in the way of the next
    assert len(extract_features(model, "features", loader(), out=file)) == ROWS
