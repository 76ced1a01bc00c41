"""What comparisons with other libraries share."""

import numpy as np
import pytest

import minidl as md


@pytest.fixture
def float64(monkeypatch):
    """Models are made in float64."""
    monkeypatch.setattr(md.config, "default_dtype", np.float64)
