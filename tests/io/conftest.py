"""A file to make hostile, and one of ONNX's to load."""

import h5py
import numpy as np
import pytest

from minidl import models


@pytest.fixture
def hostile(tmp_path):
    """A new file to fill and to close."""
    with h5py.File(tmp_path / "hostile.h5", "w") as file:
        file["good"] = np.arange(3.0)
        yield file


@pytest.fixture
def load(tmp_path):
    """Load the content of an ONNX file, from net.onnx."""

    def loaded(content, **settings):
        path = tmp_path / "net.onnx"
        path.write_bytes(content)
        return models.load(path, **settings)

    return loaded
