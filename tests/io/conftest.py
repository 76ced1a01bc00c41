"""A file to make hostile."""

import h5py
import numpy as np
import pytest


@pytest.fixture
def hostile(tmp_path):
    """A new file to fill and to close."""
    with h5py.File(tmp_path / "hostile.h5", "w") as file:
        file["good"] = np.arange(3.0)
        yield file
