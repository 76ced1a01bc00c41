"""The feature pyramid computes what torchvision's does, with the names of its state."""

from pathlib import Path

import numpy as np
import pytest
from box_cases import maps

from minidl import nn
from minidl.errors import ShapeError

RECORDED = np.load(Path(__file__).parents[1] / "ops" / "torchvision_outputs.npz")


@pytest.mark.parametrize("extra", [None, "maxpool", "p6p7"])
def test_pyramid_is_torchvisions(extra):
    pyramid = nn.FeaturePyramid((3, 5), 4, extra)
    for name, p in pyramid.named_parameters():
        array = RECORDED[f"pyramid/{extra}/{name}"]
        p.data[...] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
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
