"""Every op on every sample against torch, live, in both dtypes."""

import numpy as np
import pytest
from op_cases import cases, largest_difference

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'minidl[oracle]'")

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}


@pytest.mark.filterwarnings("ignore:var.*degrees of freedom:UserWarning")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("index", range(len(cases())), ids=[str(case) for case in cases()])
def test_agrees_with_torch(index, dtype):
    case = cases(np.dtype(dtype))[index]
    expected = case.run_oracle(torch)
    found = case.run()
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.dtype == expected[name].dtype, name
        assert largest_difference(array, expected[name]) < TOLERANCE[dtype], name
