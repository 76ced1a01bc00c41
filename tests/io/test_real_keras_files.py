"""Files that Keras 2.0, 2.4 and 2.8 wrote: what the networks in them make of real pictures."""

import csv

import networks
import numpy as np
import pytest
from numpy_forward import forward

import minidl as md

MOBILENET = "mobilenet_v1_0.25_224_imagenet/mobilenet_v1_0.25_224.h5"
RESNET = "keras_h5/mlperf_tiny_resnet8_cifar10.h5"
XCEPTION = "keras_h5/fer2013_mini_XCEPTION.102-0.66.hdf5"


def loaded(model, path):
    report = md.load_weights(model, path)
    assert report.loaded == list(model.state_dict())
    return model.eval()


def outputs(model, x):
    with md.no_grad():
        return model(x).data


@pytest.mark.parametrize(
    ("file", "make", "shape", "low", "high"),
    [
        (MOBILENET, networks.mobilenet, (64, 96, 3), -1, 1),
        (RESNET, networks.ResNet8, (32, 32, 3), 0, 255),
        (XCEPTION, networks.MiniXception, (64, 64, 1), -1, 1),
    ],
)
def test_the_network_computes_what_numpy_computes(file, make, shape, low, high, shared_data):
    x = np.random.default_rng(0).uniform(low, high, (2, *shape)).astype(np.float32)
    got, expected = outputs(loaded(make(), shared_data / file), x), forward(shared_data / file, x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * expected.max())


def test_mobilenet_on_a_hundred_photographs(shared_data):
    """The middle squares, resized to 256: top-1 0.59, top-5 0.86 (0.57 and 0.81 at 224 of 256)."""
    pytest.importorskip("PIL")
    with (shared_data / "imagenet_100" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = np.array([int(row["index"]) for row in rows])
    model = loaded(networks.mobilenet(), shared_data / MOBILENET)
    images = [networks.photograph(shared_data / "imagenet_100" / row["file"], 256) for row in rows]
    best = np.argsort(-outputs(model, np.stack(images)), axis=1)[:, :5]
    right = best == labels[:, None]
    assert right[:, 0].mean() == pytest.approx(0.59, abs=0.03)
    assert right.any(1).mean() == pytest.approx(0.86, abs=0.03)


def test_mobilenet_sees_a_cheetah_and_a_tabby_and_elephants(shared_data):
    pytest.importorskip("PIL")
    lines = (shared_data / "imagenet_labels" / "synset_words.txt").read_text().splitlines()
    names = [line.split(" ", 1)[1].split(",")[0] for line in lines]
    model = loaded(networks.mobilenet(), shared_data / MOBILENET)
    files = ["cheetah.jpg", "keras_squeezenet_cat.jpeg", "elephant.jpg"]
    images = np.stack([networks.photograph(shared_data / "photos" / file, 224) for file in files])
    cheetah, cat, elephant = outputs(model, images)
    assert names[cheetah.argmax()] == "cheetah"
    assert cheetah.max() > 0.98
    assert names[cat.argmax()] == "tabby"
    herd = [names.index(name) for name in ("African elephant", "Indian elephant", "tusker")]
    assert elephant[herd].sum() > 0.9
    assert elephant.max() < 0.9


def test_resnet8_on_four_thousand_training_images(shared_data):
    """Right on 3,719 of them; 87 % of test images are published."""
    images, labels = networks.cifar(shared_data)
    model = loaded(networks.ResNet8(), shared_data / RESNET)
    best = [outputs(model, part).argmax(1) for part in np.split(images, 8)]
    right = np.concatenate(best) == labels
    assert right.mean() == pytest.approx(0.92975, abs=0.002)


@pytest.mark.parametrize("renamed", [False, True])
def test_resnet8_without_the_biases_before_its_normalisations(renamed, shared_data):
    images, _ = networks.cifar(shared_data, 20)
    rename = {"conv2d": "conv", "batch_normalization": "bn"} if renamed else None
    model = networks.ResNet8(biases=False)
    report = md.load_weights(model, shared_data / RESNET, rename=rename)
    assert not report.unexpected
    expected = forward(shared_data / RESNET, images)
    np.testing.assert_allclose(outputs(model.eval(), images), expected, rtol=0, atol=1e-5)
