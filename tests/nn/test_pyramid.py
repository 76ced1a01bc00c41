"""The feature pyramid computes what torchvision's does, with the names of its state."""

from pathlib import Path

import numpy as np
import pytest
from box_cases import maps

import minidl as md
from minidl import nn
from minidl.errors import ShapeError

RECORDED = np.load(Path(__file__).parents[1] / "ops" / "torchvision_outputs.npz")


@pytest.mark.parametrize("extra", [None, "maxpool", "p6p7"])
def test_pyramid_is_torchvisions(extra, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="pip install 'minidl[interop]'")
    pyramid = nn.FeaturePyramid((3, 5), 4, extra)
    state = {name: RECORDED[f"pyramid/{extra}/{name}"] for name in pyramid.state_dict()}
    safetensors.save_file(state, tmp_path / "pyramid.safetensors")
    shapes = [(7, 6, 3), (4, 3, 5)]
    report = md.load_weights(pyramid, tmp_path / "pyramid.safetensors", input_shape=shapes)
    assert sorted(report.loaded) == sorted(state)
    x = (maps(12, 1, 3, 7, 6), maps(13, 1, 5, 4, 3))
    found = pyramid(*(np.ascontiguousarray(each.transpose(0, 2, 3, 1)) for each in x))
    names = [name for name in RECORDED.files if name.startswith(f"pyramid/{extra}/")]
    assert len(names) == len(found) + len(list(pyramid.parameters()))
    for i, y in enumerate(found):
        expected = RECORDED[f"pyramid/{extra}/{i}"]
        np.testing.assert_allclose(y.data, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_maps_are_of_the_same_images():
    pyramid = nn.FeaturePyramid((3, 5), 4)
    with pytest.raises(ShapeError, match=r"maps of the same images, got \[1, 2\]"):
        pyramid(np.ones((1, 4, 4, 3), np.float32), np.ones((2, 2, 2, 5), np.float32))
