"""Damage and malice: what the fuzzer does to files."""

import io
import json
import zipfile

import h5py
import numpy as np
from sealing import resealed, split, store, summed_blocks, with_sums
from specimens import archive

NUMBERS = [0, 1, 2, 7, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1]
VALUES = [
    None, True, -1, 0, 1, 3, 2**20, 2**63, 10**400, 1.5, -0.0, 1e300, float("nan"), "", "abc", "é",
    "\ud800", "/", "..", "weights", [], [[]], [1, "a"], {}, {"$array": "document"},
    {"$array": "/document"}, {"$array": 3}, {"$tuple": 3}, {"$array": "nowhere"}, {"a": [None]},
]  # fmt: skip
TYPES = [
    np.dtype(code)
    for code in ("<f4", ">f8", "<f2", "u1", "<i2", ">i8", "S3", "V5", "c8", "?", "i4,f4", "g")
]
MESSAGES = [h5py.h5t.py_create(kind).encode()[2:] for kind in TYPES]
MESSAGES += [
    h5py.h5t.py_create(kind, logical=True).encode()[2:]
    for kind in (h5py.string_dtype(), h5py.vlen_dtype(np.float32), h5py.ref_dtype)
]
WORDS = ["0", "1", "²", "kernel:0", "bias", "vars", "conv2d_" + "9" * 5000, "a b", "running_mean"]

_blocks = {}  # by the bytes of a file: the blocks with HDF5's checksums


# Bytes


def flip(rng, content):
    for _ in range(rng.choice([1, 1, 2, 5, 30])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def overwrite(rng, content):
    for _ in range(rng.choice([1, 2, 5])):
        at, size = rng.randrange(len(content)), rng.choice([1, 2, 4, 8])
        number = rng.choice([*NUMBERS, len(content), rng.getrandbits(63)]) % 256**size
        content[at : at + size] = number.to_bytes(size, "little")[: len(content) - at]


def truncate(rng, content):
    del content[rng.randrange(len(content)) :]


def insert(rng, content):
    at = rng.randrange(len(content))
    content[at:at] = rng.randbytes(rng.choice([1, 2, 8, 100]))


def delete(rng, content):
    at = rng.randrange(len(content))
    del content[at : at + rng.choice([1, 2, 8, 100])]


def swap(rng, content):
    size = rng.choice([1, 8, 64, 512])
    one, other = (rng.randrange(max(1, len(content) - size)) for _ in range(2))
    first, second = content[one : one + size], content[other : other + size]
    content[one : one + size], content[other : other + size] = second, first


def retype(rng, content):
    """Another datatype where one is described."""
    at = [i for message in MESSAGES for i in _places(content, message[:8])]
    if not at:
        return flip(rng, content)
    place, message = rng.choice(at), rng.choice(MESSAGES)
    message = message[: len(content) - place]
    content[place : place + len(message)] = message
    return None


def _places(content, part):
    at = content.find(part)
    while at >= 0:
        yield at
        at = content.find(part, at + 1)


IN_PLACE = {"flip": flip, "overwrite": overwrite, "swap": swap, "retype": retype}
BYTES = {**IN_PLACE, "truncate": truncate, "insert": insert, "delete": delete}


def mutate_bytes(rng, content, kinds=BYTES):
    """(name, bytes) with damage of one kind."""
    name = rng.choice(list(kinds))
    changed = bytearray(content)
    kinds[name](rng, changed)
    return name, bytes(changed)


def mutate_summed(rng, content, start=0):
    """Damage from `start` on, with HDF5's own checksums made right for it."""
    if content not in _blocks:
        _blocks[content] = summed_blocks(content)
    name, end = mutate_bytes(rng, content[start:], IN_PLACE)
    return f"{name} with sums", with_sums(content[:start] + end, _blocks[content])


# Structures


def mutate_json(rng, document):
    """A changed copy of a JSON document."""
    if isinstance(document, dict | list) and document and rng.random() < 0.85:
        copy = document.copy()
        key = rng.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
        action = rng.random()
        if action < 0.1:
            del copy[key]
        elif action < 0.2 and isinstance(copy, dict):
            copy[rng.choice(["", "a/b", "name", "$array", "weights"])] = copy.pop(key)
        else:
            copy[key] = mutate_json(rng, copy[key])
        return copy
    return rng.choice(VALUES)


def _changed_text(rng, text):
    """Text with another value in its JSON, or with nonsense, or nested without end."""
    if rng.random() < 0.1:
        return rng.choice(
            ["", "{", "[" * 100_000, '{"a":' * 50_000, "1" * 5000, "null", '"\\ud800"']
        )
    return json.dumps(mutate_json(rng, json.loads(text)))


def mutate_hdf5(rng, content):
    """Another attribute, name, shape or type, as any program could write it with h5py."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        things = [file]
        file.visititems(lambda _, thing: things.append(thing))
        for _ in range(rng.choice([1, 1, 2, 4])):
            action = rng.choice([_attribute, _attribute, _array, _array, _move, _remove])
            thing = rng.choice(things)
            if not thing or thing.name is None:
                continue  # removed by an edit before
            try:
                action(rng, file, thing)
            except (ValueError, TypeError, KeyError, RuntimeError, OSError, OverflowError):
                continue  # what HDF5 can't write
    return "h5py edit", buffer.getvalue()


def _attribute(rng, _, thing):
    if not thing.attrs:
        return
    name = rng.choice(list(thing.attrs))
    old = thing.attrs[name]
    text = old.decode() if isinstance(old, bytes) else old
    if isinstance(text, str) and text.startswith(("{", "[")) and rng.random() < 0.8:
        thing.attrs[name] = np.bytes_(_changed_text(rng, text).encode())
    elif rng.random() < 0.3 and np.ndim(old) == 1:
        thing.attrs[name] = rng.sample(list(old), rng.randrange(len(old) + 1)) or [b""]
    elif rng.random() < 0.2:
        del thing.attrs[name]
    else:
        kinds = [np.float64("nan"), -1, 2**63 - 1, b"", np.bytes_(b"\xff\xfe"), [b"a", b"\xff"],
                 np.arange(5), np.zeros((2, 2)), "text", h5py.Empty("f4"), True, 1e-3]  # fmt: skip
        thing.attrs[name] = rng.choice(kinds)


def _array(rng, file, thing):
    """Another array in the place of a dataset, or a document that was changed."""
    if not isinstance(thing, h5py.Dataset) or thing.dtype.fields is not None:
        return
    if thing.name == "/document" and rng.random() < 0.9:
        text = _changed_text(rng, bytes(thing[()]).decode()).encode(errors="replace")
        store(file, thing.name, np.frombuffer(text, np.uint8))
        return
    shape = list(thing.shape)
    for _ in range(rng.choice([0, 1, 1, 2])):
        change = rng.choice(["longer", "shorter", "more", "fewer", "zero"])
        at = rng.randrange(len(shape)) if shape else 0
        if change == "more" or not shape:
            shape.insert(at, rng.choice([1, 2]))
        elif change == "fewer":
            del shape[at]
        else:
            shape[at] = {"longer": shape[at] + 1, "shorter": max(0, shape[at] - 1)}.get(change, 0)
    kind = np.dtype(rng.choice(["<f4", ">f4", "<f8", "<f2", "u1", "<i8", "?"]))
    number = rng.choice([0, 1, np.nan]) if kind.kind == "f" else 1
    store(file, thing.name, np.full(shape, number, kind))


def _move(rng, file, thing):
    if thing.name != "/":
        name = thing.name.rpartition("/")[0] + "/" + rng.choice(WORDS)
        if rng.random() < 0.3:
            file[name] = thing
        else:
            file.move(thing.name, name)


def _remove(_, file, thing):
    if thing.name != "/":
        del file[thing.name]


# Each kind of file


def mutate_foreign(rng, specimen):
    """(what was done, bytes) for a file of others."""
    content = specimen.content
    if specimen.kind == "keras" and rng.random() < 0.7:
        return _mutate_archive(rng, content)
    if specimen.kind == "safetensors" and rng.random() < 0.7:
        length = int.from_bytes(content[:8], "little")
        header = _changed_text(rng, content[8 : 8 + length].decode()).encode(errors="replace")
        return "header", len(header).to_bytes(8, "little") + header + content[8 + length :]
    if specimen.kind in ("hdf5", "plain"):
        chance = rng.random()
        if chance < 0.3:
            return mutate_hdf5(rng, content)
        if chance < 0.5:
            return mutate_summed(rng, content)
    return mutate_bytes(rng, content)


def _mutate_archive(rng, content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        weights, config = file.read("model.weights.h5"), file.read("config.json")
    if rng.random() < 0.5:
        name, config = "config", _changed_text(rng, config.decode()).encode(errors="replace")
    else:
        name, weights = rng.choice([mutate_hdf5, mutate_bytes])(rng, weights)
    return name, archive(weights, config, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))


def mutate_own(rng, specimen):
    """(what was done, bytes, whether the seal was made right for it) for a file of minidl's."""
    content = specimen.content
    block = split(content)[2]["block"]
    chance = rng.random()
    if chance < 0.4:
        return *mutate_bytes(rng, content), False
    if chance < 0.45:
        name, end = mutate_bytes(rng, content[block:])
        return f"{name}, sealed", resealed(content[:block] + end), True
    if chance < 0.65:
        name, changed = mutate_summed(rng, content, block)
        return f"{name}, sealed", resealed(changed), True
    if chance < 0.7:
        return "seal's list", _changed_seal(rng, content), True
    name, changed = mutate_hdf5(rng, content)
    return f"{name}, sealed", resealed(changed), True


def _changed_seal(rng, content):
    first, digest, seal, rest = split(content)
    listed = _changed_text(rng, json.dumps(seal)).encode(errors="replace")
    try:
        return resealed(content, **json.loads(listed))
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        RecursionError,
        OverflowError,
        MemoryError,
    ):
        return first + digest + b"\n" + listed + b"\n" + rest
