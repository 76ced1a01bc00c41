"""`minidl doctor`: what this machine has, and what is wrong with it, on one screen."""

import platform
import re
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path

import numpy as np

import minidl as md
from minidl.errors import MinidlError

__all__ = ["examine"]

CORE = ("numpy", "numba", "llvmlite", "h5py", "tqdm")
EXTRAS = (
    "images",
    "plots",
    "interop",
    "logs",
    "distributed",
    "examples",
)  # the others are for developers
VECTORS = {64: "AVX-512", 32: "AVX2", 16: "plain, half of AVX2's speed or less"}
CLOSE = 1e-5  # how far float32 kernels may be from their twins, relative to the largest number


class MachineError(MinidlError, RuntimeError):
    """What is wrong, and how to mend it."""


def examine() -> tuple[list[tuple[str, str]], list[str]]:
    """Rows of a table (what, what was found), and what is wrong."""
    rows, wrong = [], []
    for name, check in CHECKS.items():
        try:
            rows.append((name, check()))
        except Exception as error:  # the other checks may tell more
            kind = "" if isinstance(error, MachineError) else f"{type(error).__name__}: "
            rows.append((name, "wrong, see below"))
            wrong.append(f"{name}: {kind}{error}")
    return rows, wrong


def _versions() -> str:
    return (
        f"{md.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}"
    )


def _packages() -> str:
    found = []
    for name in CORE:
        try:
            import_module(name)
        except Exception as error:
            raise MachineError(
                f"{name} can't be imported ({error}): pip install --force-reinstall {name}"
            ) from error
        found.append(f"{name} {metadata.version(name)}")
    return ", ".join(found)


def _cpu() -> str:
    from minidl.kernels import simd
    from minidl.kernels._jit import machine

    width = simd.VECTOR_BYTES
    return f"{_cpu_name()}{machine()['cpu']}, vectors of {width} bytes ({VECTORS[width]})"


def _cpu_name() -> str:
    """As the maker calls it, where Linux tells."""
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return f"{found[1].strip()}: " if found else ""


def _threads() -> str:
    from minidl.kernels._jit import machine

    pool = "threads of minidl's own" if machine()["own pool"] else "Python's threads"
    return f"{md.config.num_threads}, by {pool}"


def _blas() -> str:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


def _cache() -> str:
    from minidl.kernels import _cache

    folder = _cache.folder()
    if folder is None:
        raise MachineError(
            f"compiled kernels can't be kept ({_cache.why_not()}), so every run compiles anew: "
            "set the environment variable MINIDL_CACHE to a folder you may write"
        )
    files, size = _cache.files_and_bytes()
    if not files:
        return f"{folder}, empty: `minidl warmup` compiles all kernels ahead"
    return f"{folder}, warm: {files} compiled, {size / 1e6:.1f} MB"


def _kernels() -> str:
    """Two small computations, by the fast kernels and by the reference ones."""
    random = np.random.default_rng(0)
    x, w = random.standard_normal((2, 9, 9, 3)), random.standard_normal((3, 3, 3, 8))
    x, w = x.astype(np.float32), w.astype(np.float32)
    results, before = [], md.config.kernels
    try:
        for md.config.kernels in ("fast", "reference"):
            y = md.ops.conv2d(x, w, padding=1)
            results.append(md.ops.matmul(y.reshape(-1, 8), w[0, 0].T))
    finally:
        md.config.kernels = before
    fast, reference = results
    difference = float(np.abs(fast - reference).max() / np.abs(reference).max())
    if not difference <= CLOSE:
        raise MachineError(
            f"a convolution and a matrix product by the fast kernels differ from the reference "
            f"ones by {difference:.1g}: please report it with all of the above; until it is "
            'mended, md.config.kernels = "reference" is right but slow'
        )
    return f"right: they differ from the reference ones by {difference:.1g}"


def _extras() -> str:
    """Return which extras are installed whole, and how to get the others."""
    try:
        required = metadata.requires("minidl") or []
    except metadata.PackageNotFoundError:
        return "unknown, as minidl itself isn't installed"
    found = []
    for extra in EXTRAS:
        pattern = rf"([\w.-]+).*;.*extra == ['\"]{extra}['\"]"
        packages = [match[1] for line in required if (match := re.match(pattern, line))]
        lacking = [name for name in packages if not _installed(name)]
        found.append(f"{extra} (lacks {', '.join(lacking)})" if lacking else extra)
    text = ", ".join(found)
    return f"{text}; pip install 'minidl[EXTRA]' brings what lacks" if "lacks" in text else text


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


CHECKS: dict[str, Callable[[], str]] = {
    "minidl": _versions,
    "packages": _packages,
    "CPU": _cpu,
    "threads": _threads,
    "BLAS": _blas,
    "cache": _cache,
    "kernels": _kernels,
    "extras": _extras,
}
