"""Record what torch makes of every op's samples, for the light test suite to compare with.

Run from the project's root, with the extra `oracle` installed: python tests/record_ops.py
"""

from pathlib import Path

import numpy as np
import torch
from op_cases import cases

TARGET = Path(__file__).parent / "ops" / "torch_outputs.npz"


def main() -> None:
    """Write float64 outputs and gradients of every case, as "op-index/output0" and so on."""
    arrays = {
        f"{case}/{name}": array
        for case in cases(np.float64)
        for name, array in case.run_oracle(torch).items()
    }
    np.savez_compressed(TARGET, **arrays)
    print(
        f"{len(arrays)} arrays, {TARGET.stat().st_size / 1024:.0f} KiB, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
