"""Caffe's networks read and run for a second time: as its documentation says it, with loops.

Nothing of minidl is used. Arrays are (N, C, H, W), as Caffe has them. Layers are dicts of what the
description says: {"type": ["Convolution"], "convolution_param": [{...}], ...}.
"""

import itertools
import re
import struct

import numpy as np

# Descriptions


def parse(text):
    """A .prototxt as a dict of lists."""
    text = re.sub(r"#.*", "", text)
    tokens = iter(re.findall(r'"[^"]*"|[{}]|[^\s{}:]+|:', text))
    return _fields(tokens)


def _fields(tokens):
    found = {}
    for name in tokens:
        if name == "}":
            break
        token = next(tokens)
        if token == ":":
            token = next(tokens)
        found.setdefault(name, []).append(_fields(tokens) if token == "{" else _plain(token))
    return found


def _plain(token):
    if token.startswith('"'):
        return token[1:-1]
    try:
        return float(token) if re.search(r"[.eE]", token) else int(token)
    except ValueError:
        return token


# Weights


def blobs_of(content):
    """The arrays of a .caffemodel of the new form, by the names of its layers."""
    return {
        dict(_messages(layer))[1].decode(): [_blob(b) for n, b in _messages(layer) if n == 7]
        for number, layer in _messages(content)
        if number == 100
    }


def _messages(content):
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        if key & 7 == 0:
            value, at = _varint(content, at)
        else:
            size = {5: 4, 1: 8}.get(key & 7)
            if size is None:
                size, at = _varint(content, at)
            value, at = content[at : at + size], at + size
        yield key >> 3, value


def _varint(content, at):
    value = shift = 0
    while True:
        byte = content[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _blob(content):
    shape, data, old = [], b"", {}
    for number, value in _messages(content):
        if number == 7:
            for _, dims in _messages(value):
                at = 0
                while at < len(dims):
                    n, at = _varint(dims, at)
                    shape.append(n)
        elif number == 5:
            data += value
        elif number < 5:
            old[number] = value
    array = np.array(struct.unpack(f"<{len(data) // 4}f", data), np.float32)
    return array.reshape(shape or [old[i] for i in (1, 2, 3, 4)])


# Layers


def setting(params, name, short, default):
    if f"{short}_h" in params:
        return params[f"{short}_h"][0], params[f"{short}_w"][0]
    given = params.get(name, [default])
    return given[0], given[-1]


def convolved(x, kernel, params):
    n, _, h, w = x.shape
    outputs, per_group, kh, kw = kernel.shape
    groups = params.get("group", [1])[0]
    (sh, sw), (ph, pw) = setting(params, "stride", "stride", 1), setting(params, "pad", "pad", 0)
    d = params.get("dilation", [1])[0]
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    oh, ow = (h + 2 * ph - d * (kh - 1) - 1) // sh + 1, (w + 2 * pw - d * (kw - 1) - 1) // sw + 1
    y = np.zeros((n, outputs, oh, ow))
    for o, i, j in itertools.product(range(outputs), range(oh), range(ow)):
        first = o // (outputs // groups) * per_group
        rows, columns = i * sh + d * np.arange(kh), j * sw + d * np.arange(kw)
        part = padded[:, first : first + per_group][:, :, rows][:, :, :, columns]
        y[:, o, i, j] = (part * kernel[o]).sum((1, 2, 3))
    return y


def spread(x, kernel, params):
    """Deconvolution: every pixel adds its kernel."""
    n, channels, h, w = x.shape
    _, per_group, kh, kw = kernel.shape
    groups = params.get("group", [1])[0]
    (sh, sw), (ph, pw) = setting(params, "stride", "stride", 1), setting(params, "pad", "pad", 0)
    y = np.zeros((n, per_group * groups, (h - 1) * sh + kh, (w - 1) * sw + kw))
    for c, i, j in itertools.product(range(channels), range(h), range(w)):
        first = c // (channels // groups) * per_group
        part = y[:, first : first + per_group, i * sh : i * sh + kh, j * sw : j * sw + kw]
        part += x[:, c, i, j][:, None, None, None] * kernel[c]
    return y[:, :, ph : y.shape[2] - ph, pw : y.shape[3] - pw]


def pooled(x, params):
    n, c, h, w = x.shape
    average = params.get("pool", ["MAX"])[0] == "AVE"
    if params.get("global_pooling", ["false"])[0] == "true":
        return x.mean((2, 3), keepdims=True) if average else x.max((2, 3), keepdims=True)
    kernel = setting(params, "kernel_size", "kernel", 0)
    stride = setting(params, "stride", "stride", 1)
    pad = setting(params, "pad", "pad", 0)
    sizes = []
    for size, k, s, p in zip((h, w), kernel, stride, pad):
        count = -(-(size + 2 * p - k) // s) + 1
        sizes.append(count - 1 if p and (count - 1) * s >= size + p else count)
    y = np.zeros((n, c, *sizes))
    for i, j in itertools.product(range(sizes[0]), range(sizes[1])):
        starts = [i * stride[0] - pad[0], j * stride[1] - pad[1]]
        ends = [min(a + k, size + p) for a, k, size, p in zip(starts, kernel, (h, w), pad)]
        area = (ends[0] - starts[0]) * (ends[1] - starts[1])
        window = x[:, :, max(starts[0], 0) : min(ends[0], h), max(starts[1], 0) : min(ends[1], w)]
        y[:, :, i, j] = window.sum((2, 3)) / area if average else window.max((2, 3))
    return y


def responses(x, params):
    size, alpha, beta = (
        params.get(n, [d])[0] for n, d in (("local_size", 5), ("alpha", 1.0), ("beta", 0.75))
    )
    squares = x * x
    if params.get("norm_region", [""])[0] == "WITHIN_CHANNEL":
        window = {"pool": ["AVE"], "kernel_size": [size], "pad": [size // 2], "stride": [1]}
        return x * (1 + alpha * pooled(squares, window)) ** -beta
    near = [squares[:, max(0, c - size // 2) : c + size // 2 + 1].sum(1) for c in range(x.shape[1])]
    return x / (params.get("k", [1.0])[0] + alpha / size * np.stack(near, 1)) ** beta


def per_channel(numbers, x):
    return numbers.reshape(1, -1, *[1] * (x.ndim - 2))


def layer_of(layer, inputs, blobs):
    """What one layer makes of its bottoms: a list of its tops."""
    kind, x = layer["type"][0], inputs[0]
    params = next((v[0] for k, v in layer.items() if k.endswith("_param")), {})
    match kind:
        case "Convolution" | "Deconvolution":
            y = (convolved if kind == "Convolution" else spread)(x, blobs[0], params)
            return [y + per_channel(blobs[1], y) if len(blobs) > 1 else y]
        case "InnerProduct":
            matrix = blobs[0].reshape(-1, x[0].size)
            return [x.reshape(len(x), -1) @ matrix.T + blobs[1].reshape(-1)]
        case "Pooling":
            return [pooled(x, params)]
        case "LRN":
            return [responses(x, params)]
        case "BatchNorm":
            mean, var = (per_channel(b / blobs[2].item(), x) for b in blobs[:2])
            return [(x - mean) / np.sqrt(var + params.get("eps", [1e-5])[0])]
        case "Scale":
            if len(inputs) == 2:
                return [x * inputs[1].reshape(*x.shape[:2], 1, 1)]
            y = x * per_channel(blobs[0], x)
            return [y + per_channel(blobs[1], x) if len(blobs) > 1 else y]
        case "Bias":
            return [x + per_channel(blobs[0], x)]
        case "ReLU":
            return [np.where(x > 0, x, x * params.get("negative_slope", [0])[0])]
        case "PReLU":
            return [np.where(x > 0, x, x * per_channel(blobs[0], x))]
        case "ELU":
            return [np.where(x > 0, x, params.get("alpha", [1.0])[0] * np.expm1(np.minimum(x, 0)))]
        case "Sigmoid":
            return [1 / (1 + np.exp(-x))]
        case "TanH":
            return [np.tanh(x)]
        case "AbsVal":
            return [np.abs(x)]
        case "BNLL":
            return [np.log1p(np.exp(x))]
        case "Power":
            power, scale, shift = (
                params.get(n, [d])[0] for n, d in (("power", 1), ("scale", 1), ("shift", 0))
            )
            return [(shift + scale * x) ** power]
        case "Softmax":
            axis = params.get("axis", [1])[0]
            e = np.exp(x - x.max(axis, keepdims=True))
            return [e / e.sum(axis, keepdims=True)]
        case "Dropout":
            return [x]
        case "Eltwise":
            operation = params.get("operation", ["SUM"])[0]
            if operation == "SUM":
                return [sum(c * a for c, a in zip(params.get("coeff", [1] * len(inputs)), inputs))]
            stacked = np.stack(inputs)
            return [stacked.prod(0) if operation == "PROD" else stacked.max(0)]
        case "Concat":
            return [np.concatenate(inputs, params.get("axis", [1])[0])]
        case "Slice":
            axis, tops = params.get("axis", [1])[0], len(layer["top"])
            return np.split(x, params.get("slice_point", tops), axis)
        case "Split":
            return [x] * len(layer["top"])
        case "Crop":
            axis = params.get("axis", [2])[0]
            offsets = params.get("offset", [0])
            key = [slice(None)] * x.ndim
            for i in range(axis, x.ndim):
                start = offsets[i - axis] if len(offsets) > 1 else offsets[0]
                key[i] = slice(start, start + inputs[1].shape[i])
            return [x[tuple(key)]]
        case "Flatten":
            return [x.reshape(len(x), -1)]
        case "Reshape":
            dims = params["shape"][0]["dim"]
            return [x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(dims)])]
    raise NotImplementedError(kind)


def run(net, blobs, inputs):
    """All values of a network by name, from those of its inputs."""
    values = dict(inputs)
    for layer in net["layer"]:
        if layer["type"][0].endswith(("Input", "Data", "Loss")):
            continue
        given = [values[name] for name in layer["bottom"]]
        found = layer_of(layer, given, blobs.get(layer["name"][0], []))
        values.update(zip(layer["top"], found))
    return values
