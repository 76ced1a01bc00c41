"""Every op on every sample against torch, live, in both dtypes."""

import numpy as np
import pytest
from each import of_each
from op_cases import cases, largest_difference

from minidl import ops

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'minidl[oracle]'")

TOLERANCE = {"float32": 1e-5}  # of others 1e-9


@pytest.mark.filterwarnings("ignore:(var|std).*degrees of freedom:UserWarning")
@of_each([*cases(np.float64), *cases(np.float32)], "name")
def test_agrees_with_torch(case):
    expected = case.run_oracle(torch)
    found = case.run()
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.dtype == expected[name].dtype, name
        assert largest_difference(array, expected[name]) < TOLERANCE.get(array.dtype.name, 1e-9), (
            name
        )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_upsampling_spreads_no_bad_pixel_further_than_torch(mode, scale, bad):
    for at in ((0, 0), (2, 2), (4, 1)):
        x = np.zeros((1, 5, 5, 1), np.float32)
        x[0, *at] = bad
        for align_corners in (False, True) if mode == "bilinear" else (None,):
            expected = torch.nn.functional.interpolate(
                torch.tensor(x).permute(0, 3, 1, 2),
                scale_factor=scale, mode=mode, align_corners=align_corners,
            )[0, 0].numpy()  # fmt: skip
            found = ops.upsample(
                x, scale_factor=scale, mode=mode, align_corners=bool(align_corners)
            )[0, ..., 0]
            assert not (~np.isfinite(found) & np.isfinite(expected)).any()
            finite = np.isfinite(expected)
            np.testing.assert_array_equal(found[finite], expected[finite])
