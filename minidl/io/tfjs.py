"""Weights as TensorFlow.js keeps them: a manifest in JSON, and files of numbers beside it.

A manifest is a list of groups, each with `paths`, files whose bytes follow one another, and
`weights`: name, shape, dtype and, where numbers are kept as whole ones, `quantization` with its own
dtype, scale and min: x = q * scale + min.
"""

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl.checks import is_whole
from minidl.errors import FileFormatError
from minidl.io.guarded import MAX_BYTES

__all__ = ["read_tfjs"]

MOST_JSON, MOST_WEIGHTS, MOST_AXES, MOST_NAME = 2**24, 100_000, 32, 1000
MOST_NUMBERS = 2**40  # of an array; lengths of 0 count as 1, as NumPy counts them
DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4")}
QUANTIZED: dict[str, np.dtype[Any]] = {"uint8": np.dtype("u1"), "uint16": np.dtype("<u2")}


class _Weight(NamedTuple):
    """scale, minimum: None where the numbers are stored as they are."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stored: np.dtype[Any]
    scale: float | None
    minimum: float | None

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


def read_tfjs(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Return the arrays of a manifest (weights_manifest.json) by name, float32 or int32.

    Nothing is read before the files are known to have the bytes that the manifest tells of, and
    files are sought in its folder alone.
    Raises FileFormatError for what is no manifest, is damaged, holds NaN or infinity, or takes more
    than `max_bytes`.
    """
    where = os.fspath(path)
    groups = [_group(each, where) for each in _read_json(path, where)]
    found = [weight for _, weights in groups for weight in weights]
    names = {weight.name for weight in found}
    if len(names) < len(found):
        raise FileFormatError(f"{where}: two arrays have the same name")
    total = sum(weight.numbers * weight.dtype.itemsize for weight in found)
    if len(found) > MOST_WEIGHTS or total > max_bytes:
        raise FileFormatError(
            f"{where}: {len(found):,} arrays of {total:,} bytes, more than {MOST_WEIGHTS:,} or "
            f"max_bytes={max_bytes:,}"
        )
    arrays: dict[str, np.ndarray] = {}
    for files, weights in groups:
        arrays |= _read_group([_inside(Path(path), f) for f in files], weights, where)
    return arrays


def _read_json(path: str | os.PathLike[str], where: str) -> list[Any]:
    size = os.path.getsize(path)
    if size > MOST_JSON:
        raise FileFormatError(f"{where}: {size:,} bytes, more than {MOST_JSON:,} of a manifest")
    try:
        found = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{where}: expected a manifest in JSON: {error}") from error
    if not isinstance(found, list) or not found:
        raise FileFormatError(f"{where}: expected a manifest, a list of groups of weights")
    return found


def _group(found: Any, where: str) -> tuple[list[str], list[_Weight]]:
    files = found.get("paths") if isinstance(found, dict) else None
    weights = found.get("weights") if isinstance(found, dict) else None
    if not isinstance(files, list) or not isinstance(weights, list):
        raise FileFormatError(
            f"{where}: expected a group with paths and weights, found {found!r:.80}"
        )
    return files, [_weight(each, where) for each in weights]


def _weight(found: Any, where: str) -> _Weight:
    found = found if isinstance(found, dict) else {}
    name, shape, dtype = found.get("name"), found.get("shape"), found.get("dtype")
    if not isinstance(name, str) or len(name) > MOST_NAME:
        raise FileFormatError(f"{where}: an array without a name: {found!r:.80}")
    where = f"{where}: {name!r:.80}"
    if not isinstance(shape, list) or len(shape) > MOST_AXES or not all(map(is_whole, shape)):
        raise FileFormatError(f"{where}: expected a shape, whole numbers, found {shape!r:.80}")
    if min(shape, default=0) < 0:
        raise FileFormatError(f"{where}: a negative length in the shape {shape!r:.80}")
    if math.prod(max(1, side) for side in shape) > MOST_NUMBERS:
        raise FileFormatError(f"{where}: the shape {shape!r:.80} has too many numbers")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise FileFormatError(f"{where}: expected {' or '.join(DTYPES)}, found {dtype!r:.80}")
    sides = tuple(shape)
    told = found.get("quantization")
    if told is None:
        return _Weight(name, sides, DTYPES[dtype], DTYPES[dtype], None, None)
    told = told if isinstance(told, dict) else {}
    numbers = [told.get(key) for key in ("scale", "min")]
    stored = told.get("dtype")
    known = isinstance(stored, str) and stored in QUANTIZED
    if not known or not all(_finite(n) for n in numbers):
        raise FileFormatError(
            f"{where}: expected a quantization of {' or '.join(QUANTIZED)} with finite scale and "
            f"min, found {told!r:.80}"
        )
    scale, minimum = (float(n) for n in numbers if n is not None)
    weight = _Weight(name, sides, DTYPES[dtype], QUANTIZED[str(stored)], scale, minimum)
    last = np.iinfo(weight.stored).max * scale + minimum
    if not -_largest(weight.dtype) <= last <= _largest(weight.dtype):
        raise FileFormatError(f"{where}: numbers up to {last:g} don't fit in {dtype}")
    return weight


def _finite(value: Any) -> bool:
    """Whether it is a number that float32 holds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= _largest(DTYPES["float32"])


def _largest(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max if dtype.kind == "i" else np.finfo(dtype).max)


def _inside(manifest: Path, name: Any) -> Path:
    """The file `name` in the manifest's folder."""
    plain = isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:")
    plain = plain and name.isprintable()
    path = manifest.parent / name if plain else manifest
    if not plain or path.resolve().parent != manifest.parent.resolve():
        raise FileFormatError(
            f"{manifest}: expected the name of a file beside it, found {name!r:.80}"
        )
    return path


def _read_group(files: list[Path], weights: list[_Weight], where: str) -> dict[str, np.ndarray]:
    wanted = sum(weight.numbers * weight.stored.itemsize for weight in weights)
    size = sum(os.path.getsize(file) for file in files)
    if size != wanted:
        raise FileFormatError(
            f"{where}: {', '.join(f.name for f in files)} should have {wanted:,} bytes, but has "
            f"{size:,}: it is damaged, or of another manifest"
        )
    content = b"".join(file.read_bytes() for file in files)
    arrays, at = {}, 0
    for weight in weights:
        numbers = np.frombuffer(content, weight.stored, weight.numbers, at)
        at += numbers.nbytes
        if weight.stored.kind == "f" and not np.isfinite(numbers).all():
            raise FileFormatError(f"{where}: {weight.name!r:.80} holds NaN or infinity")
        arrays[weight.name] = _restored(numbers, weight).reshape(weight.shape)
    return arrays


def _restored(numbers: np.ndarray, weight: _Weight) -> np.ndarray:
    if weight.scale is None or weight.minimum is None:
        return numbers.astype(weight.dtype.newbyteorder("="))
    found = numbers.astype(np.float64) * weight.scale + weight.minimum
    return (np.rint(found) if weight.dtype.kind == "i" else found).astype(weight.dtype.type)
