"""`benchmarks.imported`: both sides compute the same, and the table's ratios."""

import numpy as np
import pytest

import minidl as md
from benchmarks.imported import network, row_of
from minidl import models


def test_both_sides_compute_the_same():
    pytest.importorskip("onnx")
    own, imported = network("own"), network("imported")
    assert type(imported) is not type(own)
    assert imported.title == "network"
    x = np.random.default_rng(1).standard_normal((1, 224, 224, 3), np.float32)
    with md.no_grad():
        np.testing.assert_allclose(imported(x).data, own(x).data, rtol=1e-4, atol=1e-4)
    assert isinstance(own, models.Network)


def test_ratios():
    found = {"own": [2.0, 9.0, 1.0], "imported": [4.0], "own eager": [3.0], "imported eager": [2.0]}
    assert row_of("resnet18-1", found) == (
        "resnet18-1", "2.0", "4.0", "3.0", "2.0", "0.500", "1.500",
    )  # fmt: skip
