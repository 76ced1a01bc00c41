"""The units of a recording: an op's forward, or one of its gradient rules.

A unit that did nothing but launch kernels and take views is replayed as these launches. That is
found out and proved on the spot: run again on other numbers, once as it is and once as its launches
alone, it must give the same bits. Any other unit is replayed by running its Python again.
"""

import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minidl.errors import CaptureError
from minidl.recording import here, paused, undone

__all__ = ["Unit", "altered", "same_bits", "unit"]


class Unit:
    """A place in a recording: whose it is, and its outputs then."""

    __slots__ = ("name", "outputs")

    def __init__(self, name: str, outputs: list[np.ndarray]) -> None:
        self.name, self.outputs = name, outputs


def unit(name: str, call: Callable[[], Any], inputs: Iterable[Any]) -> Any:
    """call(), as a unit of the recording, if there is one. inputs: the arrays that it uses."""
    recorder: Any = here.recorder
    if recorder is None or recorder.depth or recorder.gave_up():
        return call()
    recorder.depth += 1
    start = recorder.place()
    try:
        result = _with_arrays(call())
    finally:
        recorder.depth -= 1
    arrays = [_writable(x) for x in _arrays(inputs)]
    outputs = _made(result, arrays)
    if outputs:
        run = recorder.launches_since(start)
        others = [x for x in arrays if x.dtype.kind != "f" and x.size]  # not to be altered safely
        if not all(recorder.reads(x, start) for x in others):
            run = None
        if run is None or not _is_all(call, run, arrays, outputs, recorder):
            recorder.cut(start)
            recorder.stepped(lambda: _write(name, outputs, call, arrays))
    recorder.unit(Unit(name, outputs))
    return result


def _with_arrays(result: Any) -> Any:
    """The result with arrays in place of NumPy's numbers, which have no place to write to."""
    if isinstance(result, np.generic):
        return np.asarray(result)
    if isinstance(result, tuple | list):
        return type(result)(_with_arrays(x) for x in result)
    return result


def _arrays(things: Iterable[Any]) -> Iterator[np.ndarray]:
    for x in things:
        if isinstance(x, np.ndarray):
            yield x
        elif isinstance(x, tuple | list):
            yield from _arrays(x)


def _made(result: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return the arrays of a result that are no views of `arrays`."""
    found = [_writable(x) for x in _arrays([result])]
    return [x for x in found if not any(np.may_share_memory(x, other) for other in arrays)]


def _write(
    name: str, outputs: list[np.ndarray], call: Callable[[], Any], arrays: list[np.ndarray]
) -> None:
    """Run the unit's Python, and put what it makes where it was put when it was recorded."""
    for target, x in zip(outputs, _made(_with_arrays(call()), arrays), strict=True):
        if target.shape != x.shape:
            raise CaptureError(
                f"md.compile: {name} made an array of shape {x.shape} where it made one of "
                f"{target.shape} when the call was recorded: its numbers decide its shape"
            )
        np.copyto(target, x)


def _is_all(
    call: Callable[[], Any], run: Callable[[], None], arrays: list[np.ndarray],
    outputs: list[np.ndarray], recorder: Any,
) -> bool:  # fmt: skip
    """Return whether the launches alone do what the call does, on other numbers."""
    if not all(x.flags.writeable for x in arrays):
        return False  # these numbers can't be others
    with paused(), recorder.memory_of_others():
        kept = [(x, x.copy()) for x in (*arrays, *outputs)]

        def put_back() -> None:
            for x, old in kept:
                x[...] = old

        with (end := undone(put_back)), end:
            for x in arrays:
                if x.dtype.kind == "f":
                    x[...] = altered(x)
            before = [digest(x) for x in arrays]
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    expected = [x.copy() for x in _made(_with_arrays(call()), arrays)]
            except Exception:  # the call doesn't take other numbers
                return False
            changed = [digest(x) for x in arrays]
            for (x, old), was, now in zip(kept[: len(arrays)], before, changed, strict=True):
                if was != now:
                    recorder.changed(x)
                    x[...] = altered(old)
            run()
            same = all(map(same_bits, outputs, expected))
            return same and [digest(x) for x in arrays] == changed


def _writable(x: np.ndarray) -> np.ndarray:
    """x, or where it is a broadcast view, the array that it is a view of."""
    while not x.flags.writeable and isinstance(x.base, np.ndarray):
        x = x.base
    return x


def altered(x: np.ndarray) -> np.ndarray:
    """Other floats of the same kind: those of x backwards and somewhat smaller, so that neither a
    sum nor a quotient of them is what it was. Whole numbers stay: they may be places in memory."""
    if x.dtype.kind != "f":
        return x.copy()
    # x backwards alone would have the same sum, and x smaller alone the same normalization
    other = np.asarray(x.reshape(-1)[::-1].reshape(x.shape) * x.dtype.type(0.875))
    if same_bits(other, x):
        other = np.asarray(x * x.dtype.type(1.25) + x.dtype.type(0.125))
    return other


def digest(x: np.ndarray) -> tuple[Any, ...]:
    """Return what stands for an array's shape, dtype and bits."""
    bits = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
    return x.shape, x.dtype.str, zlib.crc32(bits.data)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two arrays hold the same numbers, NaNs included."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if np.array_equal(a, b):
        return True
    # NumPy's own look at NaNs copies all other numbers: twice the time of this
    return a.dtype.kind == "f" and bool(((a == b) | ((a != a) & (b != b))).all())
