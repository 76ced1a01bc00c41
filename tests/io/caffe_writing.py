"""Files of Caffe's, written byte by byte."""

import struct


def varint(n):
    out = b""
    while True:
        out += bytes([(n & 127) | (128 if n > 127 else 0)])
        n >>= 7
        if not n:
            return out


def field(number, value):
    """A field of bytes or of a whole number, as protoc's encoders write it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def blob(array, old=False, packed=True):
    if old:
        shape = b"".join(field(i, n) for i, n in enumerate(array.shape, 1))
    else:
        shape = field(7, field(1, b"".join(map(varint, array.shape))))
    if packed:
        return shape + field(5, array.astype("<f4").tobytes())
    return shape + b"".join(varint(5 << 3 | 5) + struct.pack("<f", x) for x in array.ravel())


def layer(name, type_, *blobs, old=False):
    numbers = (4, 5, 6) if old else (1, 2, 7)
    message = field(numbers[0], name.encode())
    message += field(numbers[1], type_ if old else type_.encode())
    message += b"".join(field(numbers[2], each) for each in blobs)
    return field(2 if old else 100, message)
