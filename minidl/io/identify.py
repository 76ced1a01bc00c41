"""What a file is, by its content."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidl.errors import FileFormatError
from minidl.io.caffe.text import is_prototxt
from minidl.io.guarded import check_file
from minidl.io.protobuf import BYTES, VARINT, outline
from minidl.io.sealed import is_sealed

__all__ = [
    "CAFFE",
    "HDF5",
    "KERAS",
    "MINIDL",
    "ONNX",
    "PROTOTXT",
    "SAFETENSORS",
    "WHOLE",
    "identify",
]

MINIDL, HDF5, KERAS, SAFETENSORS = "minidl", "HDF5", "Keras archive", "safetensors"
ONNX, CAFFE, PROTOTXT = "ONNX", "a network of Caffe's (.caffemodel)", "a .prototxt of Caffe's"
WHOLE = (ONNX, CAFFE)  # a network together with its weights
BEGINNING = 2**16  # bytes of a text that are looked at

ONNX_FIELDS = {
    (1, VARINT), (2, BYTES), (3, BYTES), (4, BYTES), (5, VARINT), (6, BYTES), (7, BYTES),
    (8, BYTES), (14, BYTES), (20, BYTES), (25, BYTES), (26, BYTES),
}  # fmt: skip
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
PICKLE = (
    "a pickle, which minidl never reads, because unpickling runs whatever code the file holds. In "
    "the program that wrote it, save the weights as safetensors: "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)


def identify(path: str | os.PathLike[str]) -> str:
    """MINIDL, HDF5, KERAS, SAFETENSORS, ONNX, CAFFE or PROTOTXT.

    Raises FileFormatError for anything else, pickles among them, and for folders; OSError where
    the system refuses.
    """
    with check_file(Path(path)) as file:
        start = file.read(64)
        length = os.fstat(file.fileno()).st_size
        if is_sealed(start):
            return MINIDL
        if start.startswith(HDF5_SIGNATURE) or _hdf5_behind_block(file, length):
            return HDF5
        if start.startswith(b"PK\x03\x04"):
            found = _in_archive(path)
            if found is None:
                return KERAS
        elif start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= length - 8:
            return SAFETENSORS
        elif (message := outline(file, length)) is not None:
            found = of_message(message)
            if found in (ONNX, CAFFE):
                return found
        elif is_prototxt(start) or is_prototxt(start + file_rest(file, len(start))):
            return PROTOTXT
        else:
            found = _other(start)
    raise FileFormatError(
        f"{os.fspath(path)}: expected weights (HDF5 of minidl or Keras, .keras, safetensors) or "
        f"a network (ONNX, .caffemodel, .prototxt), found {found}"
    )


def _hdf5_behind_block(file: object, length: int) -> bool:
    """HDF5's signature may stand behind a user block of 512 bytes, 1024, 2048, ..."""
    at = 512
    while at < length:
        file.seek(at)  # type: ignore[attr-defined]
        if file.read(8) == HDF5_SIGNATURE:  # type: ignore[attr-defined]
            return True
        at *= 2
    return False


def _in_archive(path: str | os.PathLike[str]) -> str | None:
    """None for Keras's archive, or what else the zip file is."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return f"a damaged zip archive ({error})"
    if {"config.json", "model.weights.h5"} <= set(names):
        return None
    if any(name.endswith(".pkl") for name in names):
        return PICKLE
    if names and all(name.endswith(".npy") for name in names):
        return (
            "NumPy's .npz: state = dict(np.load(path)) reads it; model.load_state_dict(state) "
            "takes minidl's own names and layouts. Of PyTorch's, models.create(NAME, "
            "weights=state) makes a network of minidl.models; for others, "
            "safetensors.numpy.save_file(state, 'weights.safetensors') writes a file that "
            "md.load_weights takes"
        )
    return f"a zip archive of {', '.join(names[:3])}"


def file_rest(file: Any, at: int) -> bytes:
    """Return what follows the first bytes of a file, up to `BEGINNING`."""
    file.seek(at)
    return bytes(file.read(BEGINNING))


def of_message(fields: Sequence[tuple[int, int]]) -> str:
    """Return what a message of Protocol Buffers is of, by the numbers and kinds of its fields."""
    kinds = set(fields)
    if {(1, VARINT), (7, BYTES)} <= kinds and kinds <= ONNX_FIELDS:
        return ONNX
    if kinds & {(2, BYTES), (100, BYTES)} and (1, BYTES) in kinds:
        return CAFFE
    if kinds == {(1, VARINT), (2, BYTES)}:
        return "a SavedModel of TensorFlow's (tf2onnx converts it to ONNX), or a Core ML model"
    if kinds <= {(1, BYTES), (2, BYTES), (3, VARINT), (4, BYTES), (5, BYTES)}:
        return "a graph of TensorFlow's, which tf2onnx converts to ONNX"
    return "a message of Protocol Buffers that is no ONNX model"


def _other(start: bytes) -> str:
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return PICKLE
    if start.startswith(b"\x93NUMPY"):
        return "NumPy's .npy: read it with np.load, and assign it to a parameter's .data"
    if start[:1] == b"\x08" and start[1:2] < b"\x20" and start[2:3] in (b"\x12", b"\x3a"):
        # ir_version, and then who wrote it or the graph
        return "what begins as an ONNX file and breaks off, or is damaged: copy it again"
    return f"one starting with {start[:16]!r}"
