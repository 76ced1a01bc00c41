"""Calls that nobody asked to be captured, and that need much memory, stay as they are."""

import numpy as np
from steps import a_step

import minidl as md
from minidl import nn
from minidl.capture import Compiled, program


def network():
    md.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 512), nn.BatchNorm1d(512), nn.Dropout(0.5))


def test_a_recording_that_grows_too_large_ends_and_the_call_goes_on(monkeypatch):
    """In the middle of the first call: what it draws and averages is done once."""
    monkeypatch.setattr(program, "MOST_BYTES", 128 * 1024)
    x = np.random.default_rng(0).standard_normal((256, 64)).astype(np.float32)
    plain = network()
    step = a_step(plain, lr=0.1)
    expected = [step(x).item() for _ in range(3)]
    model = network()
    captured = Compiled(a_step(model, lr=0.1), refuse=False)
    assert [captured(x).item() for _ in range(3)] == expected
    assert "bytes" in captured.refused
    for (name, a), b in zip(plain.state_dict().items(), model.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
