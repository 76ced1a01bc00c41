"""ONNX files of other programs: the accuracy that they are known for."""

import numpy as np
import pytest

import minidl as md
from minidl import models
from minidl.data.idx import read_idx


def accuracy(net, images, labels):
    with md.no_grad():
        scores = np.concatenate([net(part).data for part in np.split(images, 10)])
    return (scores.argmax(axis=1) == labels).mean()


def test_digits(shared_data):
    """98.4 % of the first 2,000; the file is made for one image at a time."""
    net = models.load(shared_data / "onnx_small" / "mnist-8.onnx").eval()
    folder = shared_data / "mnist"
    images = read_idx(folder / "t10k-images-idx3-ubyte.gz")[:2000, ..., None]
    labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz")[:2000]
    assert accuracy(net, images.astype(np.float32), labels) == 0.984


def test_squeezenet(shared_data):
    """84 % of the first 300 pictures: its file has images channels last and ends in a softmax."""
    net = models.load(shared_data / "onnx_small" / "squeezenet_cifar10.onnx").eval()
    assert (net.num_classes, net.input_shape, net.ending) == (10, (32, 32, 3), "Softmax")
    raw = np.fromfile(shared_data / "cifar10_4k" / "train_4000.bin", np.uint8).reshape(-1, 3073)
    pixels = raw[:300, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    assert accuracy(net, (pixels / 255).astype(np.float32), raw[:300, 0]) == pytest.approx(
        253 / 300
    )


def test_no_numbers_move_in_the_face_detector(shared_data):
    """Its Transposes only rename axes, and its Reshapes join those that stand together."""
    net = models.load(shared_data / "ultraface_rfb320" / "version-RFB-320_simplified.onnx").eval()
    moved = []
    with md.no_grad(), md.autograd.register_op_hook(lambda op, *call: moved.append(op.name)):
        scores, boxes = net(np.zeros((1, 240, 320, 3), np.float32))
    assert (scores.shape, boxes.shape) == ((1, 4420, 2), (1, 4420, 4))
    assert "transpose" not in moved
