"""face-api.js's networks written out in PyTorch, with its arrays under their own names."""

import numpy as np
import pytest

from minidl.apps.detect import FaceSSD
from minidl.apps.landmarks import load_landmarks
from minidl.io.tfjs import read_tfjs
from minidl.nn.modes import evaluating

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install minidl[oracle]")
F = torch.nn.functional

STRIDED = (2, 4, 6, 12)  # of the MobileNet's layers


@pytest.fixture
def folder(shared_data):
    return shared_data / "faceapi"


def arrays_of(path):
    return {name: torch.tensor(array) for name, array in read_tfjs(path).items()}


def same(x, kernel, stride, **settings):
    """A convolution with TensorFlow's padding "SAME": the odd pixel below and on the right."""
    kernel = kernel.permute(3, 2, 0, 1)  # (kh, kw, in, out) -> (out, in, kh, kw)
    size = x.shape[2]
    total = max(0, (-(-size // stride) - 1) * stride + kernel.shape[2] - size)
    x = F.pad(x, (total // 2, total - total // 2) * 2)
    return F.conv2d(x, kernel, stride=stride, **settings)


def depthwise(x, kernel, stride):
    return same(x, kernel.transpose(2, 3), stride, groups=x.shape[1])


def ssd(a, x):
    """Class scores and codes of all priors."""

    def convolution(x, name, stride=1):
        bias = a[f"{name}/convolution_bn_offset"]
        return F.relu6(same(x, a[f"{name}/weights"], stride, bias=bias))

    x = convolution(x, "MobilenetV1/Conv2d_0_pointwise", 2)
    maps = []
    for i in range(1, 14):
        name = f"MobilenetV1/Conv2d_{i}"
        x = depthwise(x, a[f"{name}_depthwise/depthwise_weights"], 2 if i in STRIDED else 1)
        norm = [a[f"{name}_depthwise/BatchNorm/{part}"]
                for part in ("moving_mean", "moving_variance", "gamma", "beta")]  # fmt: skip
        x = F.relu6(F.batch_norm(x, *norm, eps=1e-3))
        x = convolution(x, f"{name}_pointwise")
        if i in (11, 13):
            maps.append(x)
    for i in range(8):
        x = convolution(x, f"Prediction/Conv2d_{i}_pointwise", 1 + i % 2)
        if i % 2:
            maps.append(x)
    rows = []
    for kind, width in (("ClassPredictor", 3), ("BoxEncodingPredictor", 4)):
        parts = []
        for i, each in enumerate(maps):
            name = f"Prediction/BoxPredictor_{i}/{kind}"
            found = same(each, a[f"{name}/weights"], 1, bias=a[f"{name}/biases"])
            parts.append(found.permute(0, 2, 3, 1).reshape(len(x), -1, width))
        rows.append(torch.cat(parts, 1))
    return rows


def test_ssd_of_faces(folder):
    x = np.random.default_rng(0).uniform(-1, 1, (2, 512, 512, 3)).astype(np.float32)
    network = FaceSSD.load(folder)
    with evaluating(network):
        found = network(x)
    arrays = arrays_of(folder / "ssd_mobilenetv1_model-weights_manifest.json")
    with torch.no_grad():
        wanted = ssd(arrays, torch.tensor(x.transpose(0, 3, 1, 2)))
    for ours, theirs in zip(found, wanted, strict=True):
        theirs = theirs.numpy()
        np.testing.assert_allclose(ours.data, theirs, atol=1e-4 * abs(theirs).max())


def face_points(a, x, layers):
    def layer(x, name, stride):
        if f"{name}/filters" in a:
            return same(x, a[f"{name}/filters"], stride, bias=a[f"{name}/bias"])
        x = depthwise(x, a[f"{name}/depthwise_filter"], stride)
        return same(x, a[f"{name}/pointwise_filter"], 1, bias=a[f"{name}/bias"])

    for block in range(4 if layers == 4 else 3):
        outs = [F.relu(layer(x, f"dense{block}/conv0", 2))]
        for i in range(1, layers):
            outs.append(layer(F.relu(sum(outs)), f"dense{block}/conv{i}", 1))
        x = F.relu(sum(outs))
    return x.mean((2, 3)) @ a["fc/weights"] + a["fc/bias"]


@pytest.mark.parametrize(("name", "layers"), [("_68", 4), ("_68_tiny", 3)])
def test_points(folder, name, layers):
    path = folder / f"face_landmark{name}_model-weights_manifest.json"
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 112, 112, 3)).astype(np.float32)
    network = load_landmarks(path)
    with evaluating(network):
        found = network(x).data
    with torch.no_grad():
        wanted = face_points(arrays_of(path), torch.tensor(x.transpose(0, 3, 1, 2)), layers)
    np.testing.assert_allclose(found.reshape(3, -1), wanted.numpy(), atol=1e-4)
