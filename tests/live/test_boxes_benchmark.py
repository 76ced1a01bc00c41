"""What `benchmarks.boxes` times is the same computation on every side."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'minidl[oracle]'")

from benchmarks import boxes, boxes_in_torch  # noqa: E402


def arrays(result):
    """The numbers of a result; of feature maps, with channels last."""
    if isinstance(result, list | tuple):
        return np.concatenate([arrays(x) for x in result])
    x = np.asarray(
        result.detach() if isinstance(result, torch.Tensor) else getattr(result, "data", result)
    )
    return x.transpose(0, 2, 3, 1) if isinstance(result, torch.Tensor) and x.ndim == 4 else x


CASES = [case for case in boxes_in_torch.written_out() if case != "nms"]  # batched_nms, but longer


@pytest.mark.parametrize("case", CASES)
def test_sides_agree(case):
    found = arrays(boxes.in_minidl(case)())
    expected = arrays(boxes_in_torch.written_out()[case]()())
    if case == "batched_nms":  # there by label, here by score
        found, expected = np.sort(found), np.sort(expected)
    assert found.shape == expected.shape
    if found.dtype.kind == "i":
        assert (found != expected).mean() < 1e-3  # an overlap rounded to the threshold
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
