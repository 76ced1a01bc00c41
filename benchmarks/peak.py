"""The most multiply-adds the cores can do: what the kernels' figures are a percentage of."""

from typing import Any

import numba
import numpy as np

from minidl.bench.measure import measure, warm_up
from minidl.kernels.simd import LANES, fma, load, spread, store, zeros

WIDTH = LANES[4]  # float32 numbers in a vector
ROWS, VECTORS = 3, 4  # 12 sums at once: enough to fill the pipelines, few enough for 16 registers
SUMS = ROWS * VECTORS * WIDTH  # of a thread
OFFSETS = tuple(row * VECTORS * WIDTH for row in range(ROWS))
STEPS = 1_000_000


@numba.njit(parallel=True)
def _burn(sums, factor, steps):
    """Nothing but multiply-adds of numbers that stay in registers.

    The sums come from memory: the compiler would compute equal ones only once.
    """
    for thread in numba.prange(sums.size // SUMS):
        acc = load(sums, thread * SUMS, OFFSETS, zeros(sums, ROWS, VECTORS, WIDTH))
        x = spread(factor, acc)
        for _ in range(steps):
            acc = fma(acc, x, x)
        store(acc, sums, thread * SUMS, OFFSETS)


def peak(threads: int, seconds: float, repeats: int) -> dict[str, Any]:
    """GFLOP/s of so many threads, by the fastest of many turns."""
    numba.set_num_threads(threads)
    sums = np.random.default_rng(0).random(threads * SUMS, np.float32)
    factor = np.float32(0.5)
    warm_up(lambda: _burn(sums, factor, STEPS), 0)
    found = measure(lambda: _burn(sums, factor, STEPS), seconds, repeats=repeats)
    return found | {"gflops": 2 * sums.size * STEPS / found["fastest_ms"] / 1e6}
