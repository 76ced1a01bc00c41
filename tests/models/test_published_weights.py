"""Weights of other libraries, by name: real ones where they are, and what doesn't fit."""

import csv

import h5py
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import minidl as md
from minidl import models
from minidl.errors import ArgumentError, FileFormatError, StateError
from minidl.io.layers import layers_of, to_torch

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


def middle(image):
    """The middle of an image, 224x224, when its short side has 256 pixels."""
    scale = 256 / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return image.crop((left, top, left + 224, top + 224))


def accuracy(model, shared_data, prepare):
    """Top-1 and top-5 on a hundred photographs of as many classes."""
    with (shared_data / "imagenet_100" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    x = np.stack([prepare(Image.open(shared_data / "imagenet_100" / row["file"])) for row in rows])
    with md.no_grad():
        scores = model(x).data
    best = np.argsort(-scores, axis=1)[:, :5]
    right = best == np.array([[int(row["index"])] for row in rows])
    return right[:, 0].mean(), right.any(axis=1).mean()


@pytest.fixture(scope="module")
def mobilenet(shared_data):
    return models.create("mobilenet_v1", width=0.25, weights=shared_data / MOBILENET).eval()


def test_mobilenet_knows_photographs(mobilenet, shared_data):
    """Keras's weights for width 0.25."""
    wanted = mobilenet.image_format
    found = accuracy(mobilenet, shared_data, lambda photo: prepared(square(photo), wanted, 256))
    assert found == pytest.approx((0.59, 0.87), abs=0.011)


def test_efficientnet_lite0_knows_photographs(shared_data):
    """Google's weights, with the names of the package that brings them to PyTorch."""
    model = models.load(
        shared_data / "efficientnet_lite0_imagenet" / "efficientnet_lite0_fp16.safetensors"
    ).eval()
    assert model.architecture[0] == "efficientnet_lite0"
    wanted = model.image_format
    found = accuracy(model, shared_data, lambda photo: prepared(middle(photo), wanted))
    assert found == pytest.approx((0.87, 0.97), abs=0.011)


ROLES = ["depthwise_kernel", "kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"]


def published_by_keras(path, arrays):
    """A file as Keras 2 wrote it, of arrays by "layer/weight"."""
    arrays = dict(sorted(arrays.items(), key=lambda item: ROLES.index(item[0].split("/")[1])))
    layers = list(dict.fromkeys(name.partition("/")[0] for name in arrays))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.1.4"
        for layer in layers:
            own = [name for name in arrays if name.partition("/")[0] == layer]
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{name}:0".encode() for name in own]
            for name in own:
                group[f"{name}:0"] = arrays[name]


def test_mobilenet_of_width_075_knows_photographs(shared_data, tmp_path):
    """Keras's arrays in a safetensors file, and as Keras itself stores them."""
    folder = shared_data / "mobilenet_v1_0.75_224_imagenet"
    file = folder / "mobilenet_v1_0.75_224_fp16.safetensors"
    model = models.load(file).eval()
    assert model.architecture[1]["width"] == 0.75
    wanted = model.image_format
    found = accuracy(model, shared_data, lambda photo: prepared(middle(photo), wanted))
    assert found == pytest.approx((0.82, 0.96), abs=0.011)
    stored = safetensors.numpy.load_file(file)
    arrays = {name: array.astype(np.float32) for name, array in stored.items()}
    published_by_keras(tmp_path / "x.h5", arrays)
    assert weights_of(models.load(tmp_path / "x.h5")) == weights_of(model)


def weights_of(model):
    return {name: array.tobytes() for name, array in model.state_dict().items()}


PHOTOS = [("cheetah.jpg", 293), ("keras_squeezenet_cat.jpeg", 281)]  # cheetah, tabby


@pytest.mark.parametrize(("photo", "label"), PHOTOS)
def test_mobilenet_knows_a_cheetah_and_a_tabby(mobilenet, shared_data, photo, label):
    x = prepared(Image.open(shared_data / "photos" / photo), mobilenet.image_format)
    assert mobilenet(x[None]).data.argmax() == label


def test_load_knows_a_published_file_by_its_layers(mobilenet, shared_data):
    model = models.load(shared_data / MOBILENET)
    assert model.architecture == mobilenet.architecture
    assert model.image_format == mobilenet.image_format
    assert model.num_classes == 1000
    for name, array in mobilenet.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)


def test_load_says_what_it_does_not_know(shared_data):
    for path in sorted((shared_data / "keras_h5").glob("*")):
        with pytest.raises(FileFormatError, match=r"aren't those of a network that|expected"):
            models.load(path)


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
    [
        {"size": 0},
        {"order": "RBG"},
        {"scale": 0},
        {"std": (1, 0, 1)},
        {"mean": ("a",)},
        {"size": 10**400},
        {"scale": -1},
        {"mean": ()},
        {"mean": (0, 0)},
        {"scale": 10**400},
    ],
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


def as_torchvision(network):
    """Arrays of a residual network under torchvision's names, in the order it declares them."""
    layers = {layer.name: to_torch(layer) for layer in layers_of(network)}
    names = ["conv1", "bn1", "fc"]
    for stage, row in enumerate(list(network.features)[1:], 1):
        for block in range(len(row)):
            parts = ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1"]
            names += [f"layer{stage}.{block}.{part}" for part in parts]
    (source, *_) = network.sources
    named = {name: layers.get(source.translate(name)) for name in names}
    return {f"{n}.{role}": a for n, own in named.items() if own for role, a in own.items()}


@pytest.fixture(scope="module")
def torchvision(tmp_path_factory):
    """A ResNet-50 and a file with torchvision's names that holds it."""
    network = models.resnet50(num_classes=3)
    for _, buffer in network.named_buffers():
        buffer.data[...] = np.random.default_rng(0).uniform(0.5, 1.5, buffer.shape)
    path = tmp_path_factory.mktemp("torchvision") / "resnet50.safetensors"
    arrays = {n: np.ascontiguousarray(a) for n, a in as_torchvision(network).items()}
    assert len(arrays) == len(network.state_dict())
    safetensors.numpy.save_file(arrays, path)
    return network.eval(), path


def same(network, other):
    mine, others = network.state_dict(), other.state_dict()
    return mine.keys() == others.keys() and all((mine[n] == a).all() for n, a in others.items())


def test_files_of_torchvision_by_both_ways(torchvision):
    """By order, a block's last convolution and its shortcut would change places."""
    network, path = torchvision
    created = models.create("resnet50", num_classes=3, weights=path)
    loaded = models.resnet50(num_classes=3)
    md.load_weights(loaded, path)
    for found in (created, loaded):
        assert same(found, network)
        assert found.image_format == network.sources[0].image_format
    body = models.resnet50(num_classes=7)
    report = md.load_weights(body, path, strict=False)
    assert [name for name, *_ in report.misshaped] == ["classifier.1.weight", "classifier.1.bias"]


def test_load_knows_a_networks_depth_and_its_number_of_classes(torchvision):
    network, path = torchvision
    loaded = models.load(path)
    assert loaded.architecture == network.architecture
    assert loaded.num_classes == 3
    assert same(loaded, network)


def test_class_names_are_kept_in_files(tmp_path):
    model = models.lenet5(num_classes=2)
    model.classes = ["ants", "<bees> & Ähnliche"]
    md.save_weights(model, tmp_path / "w.h5")
    assert models.load(tmp_path / "w.h5").classes == model.classes
    assert models.create("lenet5", num_classes=2, weights=tmp_path / "w.h5").classes
    assert models.lenet5().classes is None
    assert model.replace_head(3).classes is None
    model.classes = ["one"]
    md.save_weights(model, tmp_path / "w.h5")
    with pytest.raises(FileFormatError, match="names 1 classes for a network of 3"):
        models.load(tmp_path / "w.h5")
    model.classes = ["x" * 2**20]
    with pytest.raises(StateError, match="classes of lenet5 take 1048580 bytes"):
        md.save_weights(model, tmp_path / "w.h5")


def test_a_network_made_otherwise_is_refused(torchvision):
    _, path = torchvision
    other = models.resnet50(num_classes=3, stride_in="1x1")
    before = other.state_dict()
    with pytest.raises(StateError, match=r"was made with \{'stride_in': '1x1'\}.*torchvision's"):
        md.load_weights(other, path)
    assert all((before[n] == a).all() for n, a in other.state_dict().items())
    with pytest.raises(StateError, match=r"stride_in.*models\.create\('resnet50', weights=FILE\)"):
        models.create("resnet50", num_classes=3, weights=path, stride_in="1x1")


@pytest.mark.parametrize("prefix", ["student", "backbone.net"])
def test_longer_names_are_not_guessed_at(torchvision, prefix):
    """PyTorch's files keep no order that could tell shortcuts from last convolutions."""
    network, _ = torchvision
    arrays = {f"{prefix}.{n}": a for n, a in as_torchvision(network).items()}
    with pytest.raises(StateError, match=r"neither minidl's nor those of torchvision.*prefix="):
        models.create("resnet50", num_classes=3, weights=arrays)


def test_a_prefix_is_taken_away(torchvision, tmp_path):
    network, _ = torchvision
    arrays = {f"module.{n}": np.ascontiguousarray(a) for n, a in as_torchvision(network).items()}
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors")
    loaded = models.resnet50(num_classes=3)
    md.load_weights(loaded, tmp_path / "x.safetensors", prefix="module")
    assert same(loaded, network)


def test_files_of_minidl_say_what_they_are_of(tmp_path):
    network = models.vgg11(num_classes=2, input_size=32)
    network.image_format = models.ImageFormat(32, "RGB", 1.0, (0, 0, 0), (1, 1, 1))
    md.save_weights(network, tmp_path / "w.h5")
    again = models.create("vgg11", tmp_path / "w.h5", num_classes=2, input_size=32)
    assert same(again, network)
    assert again.image_format == network.image_format
    with pytest.raises(StateError, match=r"models\.vgg11_lrn.*but of models\.vgg11 made with"):
        models.create("vgg11_lrn", tmp_path / "w.h5", num_classes=2, input_size=32)
    md.save_weights(models.resnet50(num_classes=2), tmp_path / "r.h5")
    with pytest.raises(StateError, match=r"stride_in.*but of models\.resnet50"):
        models.create("resnet50", tmp_path / "r.h5", num_classes=2, stride_in="1x1")


@pytest.mark.parametrize("name", ["vgg11", "squeezenet1_1", "resnet20", "densenet121"])
def test_own_names_in_foreign_formats(name, tmp_path):
    """Some of them are also among torchvision's."""
    arguments = {"num_classes": 2} | ({"input_size": 32} if name == "vgg11" else {})
    network, path = models.create(name, **arguments), tmp_path / "x.safetensors"
    md.save_weights(network, path, format="safetensors")
    assert same(models.create(name, weights=path, **arguments), network)


def test_other_classes_say_how_to_mend_it():
    state = models.resnet20(num_classes=3).state_dict()
    arrays = {n: a.transpose(3, 2, 0, 1) if a.ndim == 4 else a.T for n, a in state.items()}
    with pytest.raises(StateError, match=r"classifier\.1\.bias: expected \(10,\), got \(3,\)") as e:
        models.create("resnet20", weights=arrays)
    assert "num_classes and call .replace_head()" in str(e.value)


@pytest.mark.parametrize(
    ("weights", "error"),
    [("missing.h5", OSError), ("empty.h5", FileFormatError), ({}, StateError),
     ({"conv1.weight": "text"}, StateError), ({3: np.zeros(2)}, StateError),
     ({"conv1.weight": None}, StateError)],
)  # fmt: skip
def test_bad_weights(weights, error, tmp_path):
    (tmp_path / "empty.h5").write_bytes(b"")
    weights = tmp_path / weights if isinstance(weights, str) else weights
    with pytest.raises(error):
        models.create("resnet20", weights=weights)
