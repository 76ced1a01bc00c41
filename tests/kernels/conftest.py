"""Fixtures of the tests of kernels."""

import pytest

from minidl.kernels import _cache


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """Where nothing is kept yet: what is new is compiled."""
    monkeypatch.setattr(_cache, "folder", lambda: tmp_path)
