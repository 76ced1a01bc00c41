"""Weights that come with minidl: what they are of, and what they are worth on real data."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import minidl as md
from minidl import data, models
from minidl.data import transforms
from minidl.errors import ArgumentError, FileFormatError

LEAST = {"lenet5": 0.989, "plain_cnn": 0.993}
FOLDER = Path(md.__file__).parent / "pretrained"
CIFAR = ("preact_resnet_cifar", "cifar10")
OWN = [(name, "mnist") for name in LEAST]


@pytest.fixture(scope="module")
def networks():
    return {name: models.create(name, weights=weights).eval() for name, weights in OWN}


def test_the_list():
    assert models.pretrained() == [*OWN, CIFAR]
    files = {path.name for path in FOLDER.glob("*.h5")}
    assert files == {f"{name}_{weights}.h5" for name, weights in [*OWN, CIFAR]}


@pytest.mark.parametrize("name", LEAST)
def test_what_they_are_of(name, networks):
    model = networks[name]
    assert model.architecture[0] == name
    assert (model.num_classes, model.input_shape) == (10, (32, 32, 1))
    assert model.classes == [str(digit) for digit in range(10)]
    images = model.image_format
    assert (images.size, images.order, images.scale) == (32, "RGB", 255.0)
    mean, std, share = 0.1307, 0.3081, (28 / 32) ** 2  # MNIST's known ones, then with a frame of 0
    framed = mean * share, np.sqrt((mean**2 + std**2) * share - (mean * share) ** 2)
    np.testing.assert_allclose([*images.mean, *images.std], framed, atol=1e-4)
    loaded = models.load(FOLDER / f"{name}_mnist.h5")
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[key], array)


def test_arguments():
    found = models.create("lenet5", weights="mnist", num_classes=10, in_channels=1)
    for name, array in models.create("lenet5", weights="mnist").state_dict().items():
        np.testing.assert_array_equal(found.state_dict()[name], array)
    for widths in ([16, 32, 64], (16, 32, 64)):
        assert models.create("plain_cnn", weights="mnist", m=3, widths=widths).num_classes == 10


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("lenet5", {"num_classes": 3}, r"not with \{'num_classes': 3\}.*\.replace_head\(\)"),
        ("plain_cnn", {"m": 2}, r"not with \{'m': 2\}"),
        ("plain_cnn", {"widths": (16, 32)}, r"not with \{'widths': \[16, 32\]\}"),
        ("lenet5", {"size": 3}, "unexpected keyword argument 'size'"),
    ],
)
def test_other_arguments_are_refused(name, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        models.create(name, weights="mnist", **arguments)


def test_the_head_can_be_replaced_and_they_are_loaded_anew_each_time():
    model = models.create("lenet5", weights="mnist").replace_head(3)
    assert (model.num_classes, model.classes) == (3, None)
    assert model.image_format is not None
    assert models.create("lenet5", weights="mnist").num_classes == 10


def test_there_are_none_for_other_networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, weights in (("resnet20", "mnist"), ("lenet5", "cifar10")):
        with pytest.raises(ArgumentError, match=f"no weights and no file are called '{weights}'"):
            models.create(name, weights=weights)
        with pytest.raises(FileNotFoundError, match=weights):
            models.create(name, weights=f"./{weights}")


def test_imagenet_names_the_files_that_load():
    with pytest.raises(ArgumentError, match="imagenet") as caught:
        models.create("mobilenet_v1", weights="imagenet")
    written = "safetensors.torch.save_file(model.state_dict(), 'mobilenet_v1.safetensors')"
    for part in ("none come with minidl", "model.save('mobilenet_v1.h5')", "timm", written):
        assert part in str(caught.value)


def test_a_file_of_the_users_own_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    md.manual_seed(5)
    own = models.lenet5()
    md.save_weights(own, tmp_path / "mnist")
    found = models.create("lenet5", weights="mnist")
    for key, array in own.state_dict().items():
        np.testing.assert_array_equal(found.state_dict()[key], array)
    (tmp_path / "mnist").write_bytes(b"no weights")
    with pytest.raises(FileFormatError, match="mnist"):
        models.create("lenet5", weights="mnist")


def test_a_folder_of_that_name_is_not_meant(tmp_path, monkeypatch, networks):
    """The README's examples put MNIST in one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    found = models.create("lenet5", weights="mnist").state_dict()
    for key, array in networks["lenet5"].state_dict().items():
        np.testing.assert_array_equal(found[key], array)


@pytest.fixture(scope="module")
def digits(shared_data):
    """MNIST's test images as data.mnist gives them, as pixels, and their labels."""
    from minidl.data.mnist import MEAN, STD

    images, labels = data.mnist(shared_data / "mnist")[1].arrays
    pixels = np.rint((images * STD + MEAN) * 255).astype(np.uint8)
    return images, pixels, labels


def scores(model, images):
    with md.no_grad():
        parts = np.array_split(images, 10)
        return np.concatenate([model(part).data for part in parts])


def told_accuracy(name):
    """What the table says of a network's accuracy."""
    table = sys.modules["minidl.models.pretrained"].__doc__
    return re.search(rf"^\| `{name}`.*\| ([\d.]+) % \|", table, re.M)[1] + "%"


@pytest.mark.parametrize("name", LEAST)
def test_accuracy_on_mnist(name, networks, digits):
    images, pixels, labels = digits
    model = networks[name]
    guesses = scores(model, images).argmax(axis=1)
    right = (guesses == labels).mean()
    assert right >= LEAST[name]
    assert f"{right:.2%}" == told_accuracy(name)
    prepared = pixels
    for transform in transforms.prepare(model.image_format):
        prepared = transform(prepared, None)
    np.testing.assert_array_equal(scores(model, prepared).argmax(axis=1), guesses)


def test_the_network_that_knows_photographs(shared_data):
    model = models.create("preact_resnet_cifar", weights="cifar10").eval()
    assert model.architecture[1]["depth"] == 8
    assert model.image_format.size == 32
    images = data.cifar10(shared_data / "cifar10_4k")
    assert model.classes == images.classes
    training, test = data.split(images, (0.8, 0.2), 0)  # as `minidl train` does
    statistics = data.channel_statistics(training)
    found = np.array([model.image_format.mean, model.image_format.std]) * 255
    np.testing.assert_allclose(found, statistics, rtol=1e-6)
    pixels, labels = test.batch(range(len(test)))
    for transform in transforms.prepare(model.image_format):
        pixels = transform(pixels, None)
    right = (scores(model, pixels).argmax(axis=1) == labels).mean()
    assert f"{right:.2%}" == told_accuracy("preact_resnet_cifar")
