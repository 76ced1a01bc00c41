"""ONNX files written by hand, so that tests need no other library, not even for hostile ones."""

import struct

import numpy as np

TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
         "float64": 11}  # fmt: skip


def varint(number):
    number &= 2**64 - 1
    found = bytearray()
    while True:
        number, byte = number >> 7, number & 127
        found.append(byte | (128 if number else 0))
        if not number:
            return bytes(found)


def number(field, value):
    return varint(field << 3) + varint(value)


def message(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def tensor(name, array, **others):
    """A tensor; others: fields in the place of its numbers, such as dims=[2] or type=8."""
    array = np.asarray(array)
    dims = others.get("dims", array.shape)
    found = b"".join(number(1, n) for n in dims)
    found += number(2, others.get("type", TYPES.get(array.dtype.name, 1))) + message(8, name)
    if "external" in others:
        pairs = others["external"].items()
        entries = [message(13, message(1, k) + message(2, v)) for k, v in pairs]
        return found + b"".join(entries) + number(14, 1)
    return found + message(9, array.tobytes())


def attribute(name, value):
    found = message(1, name)
    if isinstance(value, float):
        return found + varint(2 << 3 | 5) + struct.pack("<f", value) + number(20, 1)
    if isinstance(value, int):
        return found + number(3, value) + number(20, 2)
    if isinstance(value, str):
        return found + message(4, value) + number(20, 3)
    if isinstance(value, np.ndarray):
        return found + message(5, tensor("", value)) + number(20, 4)
    if isinstance(value, bytes):  # a graph
        return found + message(6, value) + number(20, 5)
    return found + b"".join(number(8, n) for n in value) + number(20, 7)


def node(op, inputs, outputs, name="", domain="", **attributes):
    found = b"".join(message(1, x) for x in inputs) + b"".join(message(2, x) for x in outputs)
    found += message(3, name) + message(4, op) + message(7, domain)
    return found + b"".join(message(5, attribute(k, v)) for k, v in attributes.items())


def value(name, shape, kind=1):
    """An input or output; entries of the shape are numbers or names."""
    if shape is None:
        return message(1, name)
    dims = [message(1, number(1, n) if isinstance(n, int) else message(2, n)) for n in shape]
    return message(1, name) + message(2, message(1, number(1, kind) + message(2, b"".join(dims))))


def model(nodes, inputs, outputs, tensors=(), opset=17, others=b""):
    """inputs, outputs: {name: shape}.  tensors: arrays by name, or bytes of tensors."""
    if isinstance(tensors, dict):
        tensors = [tensor(name, array) for name, array in tensors.items()]
    graph = b"".join(message(1, n) for n in nodes) + message(2, "graph")
    graph += b"".join(message(5, t) for t in tensors)
    graph += b"".join(message(11, value(n, s)) for n, s in inputs.items())
    graph += b"".join(message(12, value(n, s)) for n, s in outputs.items())
    opsets = message(8, message(1, "") + number(2, opset))
    return number(1, 8) + message(2, "by hand") + message(7, graph) + opsets + others


def classifier(seed=0, softmax=False, batch="n"):
    """A small network (N, 2, 8, 8) -> (N, 3): convolutions, a normalization, a residual."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32) * 0.5

    arrays = {
        "conv.weight": draw(4, 2, 3, 3), "bn.weight": 1 + draw(4), "bn.bias": draw(4),
        "bn.running_mean": draw(4), "bn.running_var": 1 + np.abs(draw(4)),
        "second.weight": draw(4, 4, 3, 3), "second.bias": draw(4), "fc.weight": draw(3, 64),
        "fc.bias": draw(3),
    }  # fmt: skip
    norm = ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"]
    nodes = [
        node("Conv", ["x", "conv.weight"], ["a"], "first", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", *norm], ["b"]),
        node("Relu", ["b"], ["c"]),
        node("Conv", ["c", "second.weight", "second.bias"], ["d"], pads=[1, 1, 1, 1]),
        node("Add", ["d", "c"], ["e"]),
        node("Relu", ["e"], ["f"]),
        node("MaxPool", ["f"], ["g"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["g"], ["h"]),
        node("Gemm", ["h", "fc.weight", "fc.bias"], ["scores" if softmax else "y"], transB=1),
    ]
    if softmax:
        nodes.append(node("Softmax", ["scores"], ["y"], axis=1))
    return model(nodes, {"x": (batch, 2, 8, 8)}, {"y": (batch, 3)}, arrays)


def shapes():
    """A graph of shapes: (N, 4, 6, 6) reshaped by numbers that it computes."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Unsqueeze", ["n", "axes"], ["m"]),
        node("Concat", ["m", "rest"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["r"]),
        node("Transpose", ["r"], ["p"], perm=[0, 2, 1, 3, 4]),
        node("ReduceMean", ["p"], ["q"], axes=[3, 4], keepdims=0),
        node("Pad", ["q", "pads"], ["u"]),
        node("Slice", ["u", "one", "three", "one"], ["w"]),
        node("Tile", ["w", "repeats"], ["y"]),
    ]
    tensors = {
        "zero": np.int64(0), "axes": np.array([0]), "rest": np.array([2, 2, 6, 6]),
        "pads": np.array([0, 1, 0, 0, 1, 0]), "one": np.array([1]), "three": np.array([3]),
        "repeats": np.array([1, 2, 1]),
    }  # fmt: skip
    return model(nodes, {"x": ("n", 4, 6, 6)}, {"y": ("n", 4, 2)}, tensors, opset=13)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def one(op, inputs, arrays=(), opset=17, shape=("n", 4, 6, 6), **attributes):
    """A model of one node, x -> y."""
    return model(
        [node(op, inputs, ["y"], "the node", **attributes)], {"x": shape}, {"y": None}, arrays,
        opset=opset,
    )  # fmt: skip
