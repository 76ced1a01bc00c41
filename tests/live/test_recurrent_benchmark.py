"""What `benchmarks.recurrent` times is the same computation on both sides."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'minidl[oracle]'")

from benchmarks import recurrent, recurrent_in_torch  # noqa: E402


@pytest.mark.parametrize("case", recurrent.CASES)
def test_sides_agree(case):
    """Outputs, and the gradients of weight_ih (in torch turned, gates in its order) and x."""
    found = [np.asarray(getattr(x, "data", x)) for x in recurrent.in_minidl(case)()]
    expected = [x.detach() for x in recurrent_in_torch.in_torch(case)()]
    order = recurrent_in_torch.ORDER.get(case.split()[0])
    pairs = [(found[0], expected[0].numpy())]
    if order is not None and len(found) > 1:
        parts = np.split(found[1], len(order), axis=-1)
        turned = np.concatenate([parts[i] for i in order], axis=-1).T
        pairs.append((turned, expected[1].numpy()))
    if case.endswith("input"):
        pairs.append((found[-1], expected[-1].numpy()))
    for a, b in pairs:
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * np.abs(b).max())
