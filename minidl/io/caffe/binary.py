"""What a .caffemodel says of the network it was trained as: the description within it.

Fields are read by their numbers in caffe.proto; those that nothing here needs are passed over.
"""

import os
import struct
from pathlib import Path
from typing import Any

from minidl.errors import FileFormatError
from minidl.io.caffe.message import Message
from minidl.io.protobuf import BYTES, EIGHT, FOUR, VARINT, fields, signed, text, whole_numbers

__all__ = ["read_description"]

MOST_FIELDS = 2**18
TEXT, WHOLE, REAL, FLAG = "text", "whole", "real", "flag"

Schema = dict[int, tuple[str, Any]]

SHAPE: Schema = {1: ("dim", WHOLE)}
RULE: Schema = {
    1: ("phase", WHOLE), 2: ("min_level", WHOLE), 3: ("max_level", WHOLE), 4: ("stage", TEXT),
}  # fmt: skip
WINDOWS: Schema = {
    1: ("num_output", WHOLE), 2: ("bias_term", FLAG), 3: ("pad", WHOLE), 4: ("kernel_size", WHOLE),
    5: ("group", WHOLE), 6: ("stride", WHOLE), 9: ("pad_h", WHOLE), 10: ("pad_w", WHOLE),
    11: ("kernel_h", WHOLE), 12: ("kernel_w", WHOLE), 13: ("stride_h", WHOLE),
    14: ("stride_w", WHOLE), 16: ("axis", WHOLE), 18: ("dilation", WHOLE),
}  # fmt: skip
POOLING: Schema = {
    1: ("pool", WHOLE), 2: ("kernel_size", WHOLE), 3: ("stride", WHOLE), 4: ("pad", WHOLE),
    5: ("kernel_h", WHOLE), 6: ("kernel_w", WHOLE), 7: ("stride_h", WHOLE),
    8: ("stride_w", WHOLE), 9: ("pad_h", WHOLE), 10: ("pad_w", WHOLE),
    12: ("global_pooling", FLAG), 13: ("round_mode", WHOLE),
}  # fmt: skip
LRN: Schema = {
    1: ("local_size", WHOLE), 2: ("alpha", REAL), 3: ("beta", REAL), 4: ("norm_region", WHOLE),
    5: ("k", REAL),
}  # fmt: skip
SCALE: Schema = {1: ("axis", WHOLE), 2: ("num_axes", WHOLE), 4: ("bias_term", FLAG)}
# Settings by their numbers in new layers and, if any, in old ones
SETTINGS: list[tuple[str, int, int | None, Schema]] = [
    ("transform_param", 100, 36, {3: ("crop_size", WHOLE)}),
    ("batch_norm_param", 139, None, {2: ("moving_average_fraction", REAL), 3: ("eps", REAL)}),
    ("bias_param", 141, None, {1: ("axis", WHOLE), 2: ("num_axes", WHOLE)}),
    ("concat_param", 104, 9, {1: ("concat_dim", WHOLE), 2: ("axis", WHOLE)}),
    ("convolution_param", 106, 10, WINDOWS),
    ("crop_param", 144, None, {1: ("axis", WHOLE), 2: ("offset", WHOLE)}),
    ("dropout_param", 108, 12, {1: ("dropout_ratio", REAL)}),
    ("dummy_data_param", 109, 26, {6: ("shape", SHAPE)}),
    ("eltwise_param", 110, 24, {1: ("operation", WHOLE), 2: ("coeff", REAL)}),
    ("elu_param", 140, None, {1: ("alpha", REAL)}),
    ("flatten_param", 135, None, {1: ("axis", WHOLE), 2: ("end_axis", WHOLE)}),
    ("inner_product_param", 117, 17, {
        1: ("num_output", WHOLE), 2: ("bias_term", FLAG), 5: ("axis", WHOLE),
        6: ("transpose", FLAG),
    }),
    ("input_param", 143, None, {1: ("shape", SHAPE)}),
    ("lrn_param", 118, 18, LRN),
    ("memory_data_param", 119, 22, {
        2: ("channels", WHOLE), 3: ("height", WHOLE), 4: ("width", WHOLE),
    }),
    ("pooling_param", 121, 19, POOLING),
    ("power_param", 122, 21, {1: ("power", REAL), 2: ("scale", REAL), 3: ("shift", REAL)}),
    ("prelu_param", 131, None, {2: ("channel_shared", FLAG)}),
    ("relu_param", 123, 30, {1: ("negative_slope", REAL)}),
    ("reshape_param", 133, None, {
        1: ("shape", SHAPE), 2: ("axis", WHOLE), 3: ("num_axes", WHOLE),
    }),
    ("scale_param", 142, None, SCALE),
    ("slice_param", 126, 31, {
        1: ("slice_dim", WHOLE), 2: ("slice_point", WHOLE), 3: ("axis", WHOLE),
    }),
    ("softmax_param", 125, 39, {2: ("axis", WHOLE)}),
]  # fmt: skip
NEW_LAYER: Schema = {
    1: ("name", TEXT), 2: ("type", TEXT), 3: ("bottom", TEXT), 4: ("top", TEXT),
    6: ("param", {1: ("name", TEXT)}), 8: ("include", RULE), 9: ("exclude", RULE),
    **{new: (name, schema) for name, new, _, schema in SETTINGS},
}  # fmt: skip
OLD_LAYER: Schema = {
    1: ("layer", {}), 2: ("bottom", TEXT), 3: ("top", TEXT), 4: ("name", TEXT),
    5: ("type", WHOLE), 32: ("include", RULE), 33: ("exclude", RULE),
    **{old: (name, schema) for name, _, old, schema in SETTINGS if old is not None},
}  # fmt: skip
NET: Schema = {
    1: ("name", TEXT), 2: ("layers", OLD_LAYER), 3: ("input", TEXT), 4: ("input_dim", WHOLE),
    8: ("input_shape", SHAPE), 100: ("layer", NEW_LAYER),
}  # fmt: skip


def read_description(path: str | os.PathLike[str], max_bytes: int) -> Message:
    """Return what a .caffemodel says of its network, without the weights."""
    where = os.fspath(path)
    if os.path.getsize(path) > max_bytes:
        raise FileFormatError(f"{where}: more than max_bytes={max_bytes:,}")
    return _message(memoryview(Path(path).read_bytes()), NET, where, [MOST_FIELDS])


def _message(content: memoryview, schema: Schema, where: str, left: list[int]) -> Message:
    message = Message(where)
    for number, kind, value in fields(content, where):
        left[0] -= 1
        if left[0] < 0:
            raise FileFormatError(f"{where}: more than {MOST_FIELDS:,} fields")
        if number in schema:
            name, what = schema[number]
            for each in _values(kind, value, what, f"{where}: {name}", left):
                message.add(name, each)
    return message


def _values(kind: int, value: Any, what: Any, where: str, left: list[int]) -> list[Any]:
    """Return the values of a field: one, or several that are packed."""
    if isinstance(what, dict):
        if kind != BYTES:
            raise FileFormatError(f"{where}: expected a message")
        return [_message(value, what, where, left)]
    if what == TEXT:
        return [text(value, where)]
    if what == REAL:
        size = {FOUR: "<f", EIGHT: "<d"}.get(kind)
        if size is not None:
            return [struct.unpack(size, value)[0]]
        if kind != BYTES or len(value) % 4 or len(value) > 4 * MOST_FIELDS:
            raise FileFormatError(f"{where}: expected a number")
        return list(struct.unpack(f"<{len(value) // 4}f", value))
    if kind == VARINT:
        number = signed(value)
        return [number]
    if kind != BYTES:
        raise FileFormatError(f"{where}: expected a whole number")
    return [signed(number) for number in _packed(value, where, left)]


def _packed(value: memoryview, where: str, left: list[int]) -> list[int]:
    found = whole_numbers(BYTES, value, where, min(MOST_FIELDS, left[0]))
    left[0] -= len(found)
    return found
