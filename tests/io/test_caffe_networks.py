"""Networks of Caffe's as modules: what each layer computes, by a second reading with loops."""

import caffe_reading
import numpy as np
import pytest
from caffe_cases import CASES, CLASSIFIER, REFUSED, network, normal, weights

import minidl as md
from minidl import models
from minidl.errors import ArgumentError, FileFormatError, StateError

RANDOM = np.random.default_rng(0)


def loaded(folder, text, **blobs):
    (folder / "net.prototxt").write_text(text)
    (folder / "net.caffemodel").write_bytes(weights(blobs))
    return models.load(folder / "net.caffemodel").eval()


def last(array):
    """(N, C, H, W) as minidl has it."""
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def scaled(images):
    """Tones from 0 to 255, (N, 28, 28), as LeNet was trained on them."""
    return images[..., None].astype(np.float32) * np.float32(0.00390625)


def outputs_of(model):
    """The names of what it gives."""
    return [port.name for port in getattr(model.classifier, "outputs", model.features.outputs)]


@pytest.mark.parametrize("name", CASES)
def test_layer(name, tmp_path):
    text, shape, blobs = CASES[name]
    model = loaded(tmp_path, text, **blobs)
    x = RANDOM.standard_normal((2, *shape)).astype(np.float32)
    values = caffe_reading.run(caffe_reading.parse(text), blobs, {"data": x})
    with md.no_grad():
        found = model(last(x))
    found = found if isinstance(found, tuple) else (found,)
    for top, y in zip(outputs_of(model), found, strict=True):
        wanted = last(values[top])
        assert y.shape == wanted.shape
        np.testing.assert_allclose(y.data, wanted, rtol=0, atol=2e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("name", CASES)
def test_weights_hold_the_description(name, tmp_path):
    """md.save_weights keeps it; what comes back computes the same bits."""
    text, shape, blobs = CASES[name]
    model = loaded(tmp_path, text, **blobs)
    md.save_weights(model, tmp_path / "net.h5")
    again = models.load(tmp_path / "net.h5").eval()
    x = last(RANDOM.standard_normal((2, *shape)).astype(np.float32))
    with md.no_grad():
        first, second = (y if isinstance(y, tuple) else (y,) for y in (model(x), again(x)))
    assert [y.data.tobytes() for y in first] == [y.data.tobytes() for y in second]
    assert outputs_of(again) == outputs_of(model)


def test_a_new_head_comes_back_too(tmp_path):
    (tmp_path / "net.prototxt").write_text(CLASSIFIER)
    model = models.load(tmp_path / "net.prototxt").replace_head(3).eval()
    md.save_weights(model, tmp_path / "net.h5")
    again = models.load(tmp_path / "net.h5").eval()
    x = RANDOM.standard_normal((2, *model.input_shape)).astype(np.float32)
    with md.no_grad():
        assert model(x).data.tobytes() == again(x).data.tobytes()
        assert again(x).shape == (2, 3)


# Real files


def test_lenet_of_caffe(shared_data):
    folder = shared_data / "caffe_lenet_mnist"
    model = models.load(folder / "lenet_iter_10000.caffemodel").eval()
    assert model.num_parameters == 431_080
    assert (model.input_shape, model.num_classes) == ((28, 28, 1), 10)
    images, labels = raw_test_digits(shared_data / "mnist")
    right = 0
    for at in range(0, len(images), 1000):
        scores = model(scaled(images[at : at + 1000])).data
        right += int((scores.argmax(axis=1) == labels[at : at + 1000]).sum())
    assert right == 9914  # of 10,000, as the README beside the file says


def raw_test_digits(folder):
    """Images (10000, 28, 28) of tones, and their labels."""
    import gzip

    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        return images, np.frombuffer(file.read(), np.uint8, offset=8)


SIZES = {"det1": (3, 31, 27), "det2": (3, 24, 24), "det3": (3, 48, 48)}


@pytest.mark.parametrize("name", SIZES)
def test_mtcnn_by_a_second_reading(name, shared_data):
    path = shared_data / "mtcnn_caffe" / f"{name}.caffemodel"
    model = models.load(path).eval()
    net = caffe_reading.parse(path.with_suffix(".prototxt").read_text())
    x = RANDOM.standard_normal((1, *SIZES[name])).astype(np.float32)
    values = caffe_reading.run(net, caffe_reading.blobs_of(path.read_bytes()), {"data": x})
    with md.no_grad():
        found = model(last(x))
    for port, y in zip(model.features.outputs, found, strict=True):
        np.testing.assert_allclose(y.data, last(values[port.name]), rtol=0, atol=2e-6)


def test_super_resolution(shared_data):
    """Descriptions of training: the first layer's weights tell that images have one channel."""
    folder = shared_data / "sr" / "srcnn_x3"
    path = folder / "SRCNN_iter_3700000.caffemodel"
    both = r"SRCNN_mat\.prototxt, SRCNN_net\.prototxt .*prototxt="
    with pytest.raises(FileFormatError, match=both):
        models.load(path)
    model = models.load(path, prototxt=folder / "SRCNN_net.prototxt").eval()
    assert model.num_parameters == 8129
    net = caffe_reading.parse((folder / "SRCNN_mat.prototxt").read_text())
    x = RANDOM.standard_normal((1, 1, 21, 20)).astype(np.float32)
    values = caffe_reading.run(net, caffe_reading.blobs_of(path.read_bytes()), {"data": x})
    np.testing.assert_allclose(model(last(x)).data, last(values["conv3"]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SIZES)
def test_a_caffemodel_alone_says_what_it_was_trained_as(name, shared_data, tmp_path):
    """With its losses and labels left out, that is the network that the .prototxt describes."""
    whole = shared_data / "mtcnn_caffe" / f"{name}.caffemodel"
    (tmp_path / "alone.caffemodel").write_bytes(whole.read_bytes())
    shape = (*{"det1": (12, 12), "det2": (24, 24), "det3": (48, 48)}[name], 3)
    model = models.load(whole).eval()
    alone = models.load(tmp_path / "alone.caffemodel", input_shape=shape).eval()
    x = RANDOM.standard_normal((2, *shape)).astype(np.float32)
    boxes = dict(zip(outputs_of(model), model(x), strict=True))
    others = dict(zip(outputs_of(alone), alone(x), strict=True))
    (same,) = boxes.keys() & others.keys() & {"conv4-2", "conv5-2", "conv6-2"}
    np.testing.assert_array_equal(boxes[same].data, others[same].data)


# Networks as they are used


def test_a_classifier_is_trained_further(tmp_path):
    (tmp_path / "net.prototxt").write_text(CLASSIFIER)
    model = models.load(tmp_path / "net.prototxt")
    assert [*model.state_dict()] == [
        "features.conv1_3x3.weight", "features.conv1_3x3.bias", "features.bn.weight",
        "features.bn.bias", "features.bn.running_mean", "features.bn.running_var",
        "classifier.fc.weight", "classifier.fc.bias",
    ]  # fmt: skip
    x = md.from_numpy(normal(4, 8, 8, 3))
    np.testing.assert_allclose(model.eval()(x).sum(axis=1).data, np.ones(4), rtol=1e-6)
    model.replace_head(3).train()
    model.features.freeze()
    loss = md.nn.functional.cross_entropy(model(x), np.array([0, 1, 2, 0]))
    loss.backward()
    assert model.classifier.fc.weight.grad.shape == (4, 3)
    assert model.features.conv1_3x3.weight.grad is None


def test_old_descriptions(tmp_path):
    """Layers as before 2014, types as constants, inputs before the layers, train and test data."""
    text = """
    # the form of 2013
    name: 'old'  input: "data" input_dim: 1 input_dim: 3 input_dim: 7 input_dim: 6
    layers { name: "d" type: DATA top: "data" top: "label" include: { phase: TRAIN } }
    layers { name: "y" type: CONVOLUTION bottom: "data" top: "y" blobs_lr: 1.
             convolution_param { num_output: 4 kernel_size: 3 weight_filler { std: 1e-2f } } }
    layers { name: "relu" type: RELU bottom: "y" top: "y" }
    layers { name: "drop" type: DROPOUT bottom: "y" top: "y" exclude { phase: TEST } }
    layers { name: "loss" type: SOFTMAX_LOSS bottom: "y" bottom: "label" }
    """
    kernel, bias = CASES["convolution"].blobs["y"]
    model = loaded(tmp_path, text, y=[kernel, bias])
    assert [name for name, _ in model.features.named_children()] == ["y"]
    x = normal(1, 3, 7, 6)
    wanted = np.maximum(caffe_reading.convolved(x, kernel, {}) + bias.reshape(1, -1, 1, 1), 0)
    np.testing.assert_allclose(model(last(x)).data, last(wanted), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("layers", "match"), REFUSED)
def test_refused_networks(layers, match, tmp_path):
    (tmp_path / "net.prototxt").write_text(network(layers))
    with pytest.raises(FileFormatError, match=match):
        models.load(tmp_path / "net.prototxt")


def test_weights_of_another_network(tmp_path):
    with pytest.raises(StateError, match=r"a needs 5 x 126 and 5, .* 4 x 126.*; b needs .* none"):
        loaded(tmp_path, CASES["two products"].text, a=[normal(4, 126), normal(4)])


def test_arguments_of_load(tmp_path):
    (tmp_path / "net.prototxt").write_text(CASES["convolution"].text)
    with pytest.raises(ArgumentError, match="input_shape="):
        models.load(tmp_path / "net.prototxt", input_shape=(3, 3))
    md.save_weights(models.create("lenet5"), tmp_path / "x.h5")
    with pytest.raises(ArgumentError, match="are for Caffe's files"):
        models.load(tmp_path / "x.h5", input_shape=(3, 3, 3))
    with pytest.raises(ArgumentError, match="are for Caffe's files"):
        models.load(tmp_path / "net.prototxt", prototxt=tmp_path / "net.prototxt")
