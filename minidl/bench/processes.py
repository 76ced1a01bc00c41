"""Each competitor in a process of its own, so that neither's threads disturb the other's."""

import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from minidl.config import config
from minidl.errors import StateError

__all__ = ["TUNED_MALLOC", "installed", "machine", "run_job"]

# glibc gives large blocks back to the system when they are freed, and every new one costs a page
# fault for each 4 kB. With these settings PyTorch keeps its pages, and its steps fault hardly ever.
TUNED_MALLOC = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592"
    ":glibc.malloc.top_pad=67108864"
}
PACKAGES = ("minidl", "numpy", "numba", "torch", "jax", "onnxruntime", "openvino")


def run_job(
    module: str, job: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run `python -m module JOB` and return the JSON of the last line it prints."""
    text = json.dumps({**job, "started": time.time()})
    done = subprocess.run(
        [sys.executable, "-m", module, text],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise StateError(
            f"{module} ended with status {done.returncode} and no result for {job}:\n"
            + done.stderr[-2000:]
        )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def installed(package: str) -> bool:
    """Whether it can be imported here; it isn't."""
    return importlib.util.find_spec(package) is not None


def machine() -> dict[str, Any]:
    """Return what the figures hold for."""
    return {
        "cpu": _cpu(),
        "isa": f"{platform.machine()}, {_vectors()}",
        "caches": _caches(),
        "memory_bytes": _memory(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "cache_folder": str(config.cache_folder),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _vectors() -> str:
    from minidl.kernels import simd

    return f"vectors of {simd.VECTOR_BYTES} bytes"


def _caches() -> dict[str, str]:
    """Return the sizes of a core's caches, such as {"L1 Data": "32K", "L2": "1M"}; Linux tells."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (folder / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        found[f"L{level}" if kind == "Unified" else f"L{level} {kind}"] = size
    return found


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not Linux
        return None
