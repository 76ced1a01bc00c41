"""Seals and checksums of minidl's files and of HDF5, written from their descriptions.

With them a test makes a file that was changed on purpose look whole, as a hostile one would.
"""

import hashlib
import json
import zlib

import h5py

SIGNATURES = (b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF", b"BTIN")


def split(content):
    """(first line, digest, list, padding and all that follows) of a sealed file."""
    first, digest, rest = bytes(content).split(b"\n", 2)
    listed = rest.split(b"\n", 1)[0]
    return first + b"\n", digest, json.loads(listed), rest


def resealed(content, **changes):
    """A sealed file's bytes with a seal that is right for them; `changes` go into its list."""
    first, _, seal, _ = split(content)
    seal = {**seal, "size": len(content), **changes}
    block = seal["block"]
    listed = json.dumps(seal, separators=(",", ":")).encode() + b"\n"
    head = len(first) + 64 + 1
    rest = listed.ljust(block - head, b"\0")
    covered = bytearray(content[block:])
    for start, length in reversed(seal["plain"]):
        del covered[start - block : start - block + length]
    digest = hashlib.sha256(first + rest + covered).hexdigest().encode()
    return first + digest + b"\n" + rest + bytes(content[block:])


def reseal(path, **changes):
    """Give a file that h5py changed a seal that is right again."""
    path.write_bytes(resealed(path.read_bytes(), **changes))


def edit(path, change):
    """Change a sealed file with h5py, `change(file)`, and seal it again."""
    with h5py.File(path, "r+") as file:
        change(file)
    reseal(path)


def crc32(array):
    """The checksum that minidl gives an array."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return f"{zlib.crc32(little.tobytes()):08x}"


def store(file, name, array):
    """Replace a dataset's array in a file open in h5py, with a checksum that is right."""
    if name in file:
        kept = {key: value for key, value in file[name].attrs.items() if key != "crc32"}
        del file[name]
    else:
        kept = {}
    file[name] = array
    file[name].attrs.update({**kept, "crc32": crc32(array)})


# HDF5's own checksums: Bob Jenkins' lookup3 over a block, in the four bytes behind it.


def lookup3(data):
    """Jenkins' hashlittle() with a starting value of 0."""
    a = b = c = 0xDEADBEEF + len(data) & 0xFFFFFFFF
    if not data:
        return c
    padded = data + bytes(-len(data) % 12)
    for at in range(0, len(padded), 12):
        a = a + int.from_bytes(padded[at : at + 4], "little") & 0xFFFFFFFF
        b = b + int.from_bytes(padded[at + 4 : at + 8], "little") & 0xFFFFFFFF
        c = c + int.from_bytes(padded[at + 8 : at + 12], "little") & 0xFFFFFFFF
        if at + 12 < len(padded):
            for turn in (4, 6, 8, 16, 19, 4):
                a, b, c = _mixed(a, b, c, turn)
    for turn in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - _turned(b, turn) & 0xFFFFFFFF
        a, b, c = b, c, a
    return b  # the last that was changed


def _turned(x, turn):
    return (x << turn | x >> (32 - turn)) & 0xFFFFFFFF


def _mixed(a, b, c, turn):
    """One of the six equal steps of mix(), with the names moved on."""
    a = (a - c ^ _turned(c, turn)) & 0xFFFFFFFF
    c = c + b & 0xFFFFFFFF
    return b, c, a


def summed_blocks(content):
    """(start, end) of the blocks of an HDF5 file's structures that a checksum follows at `end`."""
    starts = [0] if content.startswith(b"\x89HDF") else []
    starts += [at for at in range(len(content)) if content[at : at + 4] in SIGNATURES]
    at = content.find(b"\x89HDF", 1)
    blocks = []
    for start in sorted({*starts, *([at] if at > 0 else [])}):
        for end in range(start + 8, min(start + 2048, len(content) - 3)):
            if lookup3(content[start:end]).to_bytes(4, "little") == content[end : end + 4]:
                blocks.append((start, end))
                break
    return blocks


def with_sums(content, blocks):
    """The bytes with checksums that are right for what the blocks hold now."""
    content = bytearray(content)
    for start, end in blocks:
        if end + 4 <= len(content):
            content[end : end + 4] = lookup3(bytes(content[start:end])).to_bytes(4, "little")
    return bytes(content)
