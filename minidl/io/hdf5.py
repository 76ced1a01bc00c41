"""Weights in HDF5: one dataset a parameter or buffer, one group a module.

"conv1.weight" is stored as /conv1/weight. The root carries format="minidl weights",
format_version and the version of minidl that wrote it; each dataset carries the SHA-256 of its
bytes (little-endian, C order), which loading verifies.
"""

import hashlib
import io
import os
from typing import TYPE_CHECKING

import h5py
import numpy as np

from minidl.errors import DTypeError, FileFormatError, StateError
from minidl.io.atomic import atomic_write
from minidl.io.guarded import MAX_BYTES, GuardedFile, open_guarded
from minidl.version import __version__

if TYPE_CHECKING:
    from minidl.nn.module import LoadReport, Module

__all__ = ["load_weights", "save_weights"]

FORMAT = "minidl weights"
FORMAT_VERSION = 1


def save_weights(model: "Module", path: str | os.PathLike[str]) -> None:
    """Write every parameter and buffer of `model` to the HDF5 file `path`, atomically.

    Raises StateError for arrays that aren't integers or floats of up to 64 bits, and OSError
    where the system refuses; either way an old file at `path` is left as it was.
    """
    state = _state(model, "save_weights")
    with atomic_write(path) as temporary:
        # The file is composed in memory: HDF5 keeps a file open for good, and what it couldn't
        # write with it, when the disk fills up under it.
        image = _compose(state)
        with open(temporary, "wb") as file:
            file.write(image.getbuffer())


def load_weights(
    model: "Module", path: str | os.PathLike[str], strict: bool = True, max_bytes: int = MAX_BYTES
) -> "LoadReport":
    """Load what `save_weights` wrote into `model`: all of it or, where anything is wrong, nothing.

    strict: every name and shape must match; otherwise what matches is loaded, and the report
        lists the rest.
    max_bytes: the most memory that the file's datasets may take.
    Raises FileFormatError for another format, a damaged file or a wrong checksum, StateError
    for names and shapes that don't match, OSError where the system refuses.
    """
    expected = _state(model, "load_weights")
    found = {}
    with open_guarded(path, max_bytes) as file:
        _check_format(file)
        for name, entry in file.datasets().items():
            dotted = name.replace("/", ".")
            if "." in name:
                raise FileFormatError(f"{file.path}: unexpected dot in the dataset name {name!r}")
            if dotted in expected and expected[dotted].shape == entry.shape:
                found[dotted] = _read_verified(file, name)
            else:
                # The model refuses or reports it by name and shape: it need not be read.
                found[dotted] = np.broadcast_to(np.zeros((), entry.dtype), entry.shape)
    return model.load_state_dict(found, strict=strict)


def _state(model: "Module", who: str) -> dict[str, np.ndarray]:
    if not hasattr(model, "state_dict") or not hasattr(model, "load_state_dict"):
        raise DTypeError(f"{who} expected a module first, got {type(model).__name__}")
    return model.state_dict()


def _compose(state: dict[str, np.ndarray]) -> io.BytesIO:
    """The bytes of the whole file."""
    image = io.BytesIO()
    # Version 1.10 of the format gives HDF5's own structures checksums too; it dates from 2016.
    with h5py.File(image, "w", libver=("v110", "v110")) as file:
        file.attrs["format"] = np.bytes_(FORMAT)
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["minidl_version"] = np.bytes_(__version__)
        for name, array in state.items():
            if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
                raise StateError(
                    f"save_weights expected integers or floats of up to 64 bits, but {name!r} "
                    f"is {array.dtype}: convert it, for example with model.astype(np.float32)"
                )
            if "/" in name or "" in name.split("."):
                raise StateError(f"save_weights can't store the name {name!r}: it becomes a path")
            plain = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
            dataset = file.create_dataset(name.replace(".", "/"), data=plain)
            dataset.attrs["sha256"] = np.bytes_(_sha256(plain))
    return image


def _check_format(file: GuardedFile) -> None:
    found = file.attribute("format")
    if found != FORMAT:
        raise FileFormatError(
            f"{file.path}: expected an HDF5 file with the root attribute format={FORMAT!r}, "
            f"found {'none' if found is None else repr(found)}: it was not written by "
            "minidl.save_weights"
        )
    version = file.attribute("format_version")
    if not isinstance(version, int) or version < 1:
        raise FileFormatError(f"{file.path}: expected a format_version, found {version!r}")
    if version > FORMAT_VERSION:
        raise FileFormatError(
            f"{file.path}: found format_version {version}, expected at most {FORMAT_VERSION}: "
            "a newer minidl wrote it; update minidl to read it"
        )


def _read_verified(file: GuardedFile, name: str) -> np.ndarray:
    """One dataset, once its bytes are known to be those that were written."""
    expected = file.attribute("sha256", of=name)
    if not isinstance(expected, str):
        raise FileFormatError(f"{file.path}: dataset {name!r} has no sha256 attribute")
    array = file.read(name)
    found = _sha256(np.asarray(array, array.dtype.newbyteorder("<")))
    if found != expected:
        raise FileFormatError(
            f"{file.path}: dataset {name!r} is damaged: its bytes have SHA-256 {found}, "
            f"expected {expected!r:.70}"
        )
    return array


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.data).hexdigest()
