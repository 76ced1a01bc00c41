"""Weights of other libraries, by name: real ones where they are, and what doesn't fit."""

import csv

import numpy as np
import pytest
from PIL import Image

import minidl as md
from minidl import models
from minidl.errors import ArgumentError, FileFormatError, StateError

MOBILENET = "mobilenet_v1_0.25_224_imagenet/mobilenet_v1_0.25_224.h5"


def prepared(image, wanted, size=None):
    """A square image as an ImageFormat says."""
    size = size or wanted.size
    pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
    pixels = pixels[:, :, ::-1] if wanted.order == "BGR" else pixels
    return ((pixels / wanted.scale - wanted.mean) / wanted.std).astype(np.float32)


def square(image):
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


@pytest.fixture(scope="module")
def mobilenet(shared_data):
    return models.create("mobilenet_v1", width=0.25, weights=shared_data / MOBILENET).eval()


def test_mobilenet_knows_photographs(mobilenet, shared_data):
    """Keras's weights for width 0.25, on a hundred photographs of as many classes."""
    with (shared_data / "imagenet_100" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    photographs = [Image.open(shared_data / "imagenet_100" / row["file"]) for row in rows]
    x = np.stack([prepared(square(p), mobilenet.image_format, 256) for p in photographs])
    with md.no_grad():
        scores = mobilenet(x).data
    best = np.argsort(-scores, axis=1)[:, :5]
    right = best == np.array([[int(row["index"])] for row in rows])
    assert right[:, 0].mean() == pytest.approx(0.59, abs=0.011)
    assert right.any(axis=1).mean() == pytest.approx(0.87, abs=0.011)


PHOTOS = [("cheetah.jpg", 293), ("keras_squeezenet_cat.jpeg", 281)]  # cheetah, tabby


@pytest.mark.parametrize(("photo", "label"), PHOTOS)
def test_mobilenet_knows_a_cheetah_and_a_tabby(mobilenet, shared_data, photo, label):
    x = prepared(Image.open(shared_data / "photos" / photo), mobilenet.image_format)
    assert mobilenet(x[None]).data.argmax() == label


def test_resnet20_through_a_plain_dict(shared_data):
    with np.load(shared_data / "resnet20_cifar10" / "resnet20.npz") as file:
        model = models.create("resnet20", weights=dict(file)).eval()
    raw = np.fromfile(shared_data / "cifar10_4k" / "train_4000.bin", np.uint8).reshape(-1, 3073)
    raw = raw[::2]
    pixels = raw[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (N, H, W, C)
    wanted = model.image_format
    x = ((pixels / wanted.scale - wanted.mean) / wanted.std).astype(np.float32)
    with md.no_grad():
        right = model(x).data.argmax(axis=1) == raw[:, 0]
    assert right.mean() > 0.985


def test_the_image_format_is_known_with_the_weights_only():
    assert models.resnet20().image_format is None


def test_the_image_format_is_kept_in_files(mobilenet, tmp_path):
    md.save_weights(mobilenet, tmp_path / "w.h5")
    assert models.load(tmp_path / "w.h5").image_format == mobilenet.image_format


@pytest.mark.parametrize(
    "wrong",
    [{"size": 0}, {"order": "RBG"}, {"scale": 0}, {"std": (1, 0, 1)}, {"mean": ("a",)}],
)
def test_image_formats_make_sense(wrong):
    right = {"size": 8, "order": "RGB", "scale": 1.0, "mean": (0, 0, 0), "std": (1, 1, 1)}
    assert models.ImageFormat(**right).mean == (0.0, 0.0, 0.0)
    with pytest.raises(ArgumentError, match="ImageFormat"):
        models.ImageFormat(**(right | wrong))


def test_weights_of_another_network_are_refused_with_every_name(tmp_path):
    md.save_weights(models.resnet20(), tmp_path / "x.safetensors", format="safetensors")
    with pytest.raises(StateError, match="aren't weights of this network") as refused:
        models.create("resnet32", weights=tmp_path / "x.safetensors")
    text = str(refused.value)
    missing = models.resnet32().state_dict().keys() - models.resnet20().state_dict().keys()
    assert len(missing) > 20
    assert all(f"missing: {name}\n" in text for name in missing)
    assert str(tmp_path / "x.safetensors") in text


def test_other_classes_say_how_to_mend_it():
    state = models.resnet20(num_classes=3).state_dict()
    arrays = {n: a.transpose(3, 2, 0, 1) if a.ndim == 4 else a.T for n, a in state.items()}
    with pytest.raises(StateError, match=r"classifier\.1\.bias: expected \(10,\), got \(3,\)") as e:
        models.create("resnet20", weights=arrays)
    assert "num_classes and call .replace_head()" in str(e.value)


@pytest.mark.parametrize(
    ("weights", "error"),
    [("missing.h5", OSError), ("empty.h5", FileFormatError), ({}, StateError),
     ({"conv1.weight": "text"}, Exception)],
)  # fmt: skip
def test_bad_weights(weights, error, tmp_path):
    (tmp_path / "empty.h5").write_bytes(b"")
    weights = tmp_path / weights if isinstance(weights, str) else weights
    with pytest.raises(error):
        models.create("resnet20", weights=weights)
