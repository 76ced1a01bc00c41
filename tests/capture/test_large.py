"""Calls that nobody asked to be captured, and that need much memory, stay as they are."""

import numpy as np

import minidl as md
from minidl import nn, optim
from minidl.capture import Compiled, program


def a_step(seed=0):
    md.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 512), nn.BatchNorm1d(512), nn.Dropout(0.5))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return model, step


def test_a_recording_that_grows_too_large_ends_and_the_call_goes_on(monkeypatch):
    """In the middle of the first call: what it draws and averages is done once."""
    monkeypatch.setattr(program, "MOST_BYTES", 128 * 1024)
    x = np.random.default_rng(0).standard_normal((256, 64)).astype(np.float32)
    plain, step = a_step()
    expected = [step(x).item() for _ in range(3)]
    model, other = a_step()
    captured = Compiled(other, refuse=False)
    assert [captured(x).item() for _ in range(3)] == expected
    assert "bytes" in captured.refused
    for (name, a), b in zip(plain.state_dict().items(), model.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
