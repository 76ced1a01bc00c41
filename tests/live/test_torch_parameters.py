"""Networks that use arrays of their own, or move channels and pixels, in PyTorch and here."""

import numpy as np
import pytest
from test_torch_flattened import CONV, FC, Net, OurOneInput, filled, rows, torch
from torch_compare import assert_close

import minidl as md
from minidl import nn, ops
from minidl.errors import StateError

save_file = pytest.importorskip("safetensors.torch").save_file
t, F, f = torch.nn, torch.nn.functional, nn.functional


def pair(theirs, ours, parts=(), shapes=None, refused=False):
    """shapes: {name: (shape in PyTorch, shape in minidl)} of arrays of the model itself.

    refused: even if minidl is told the shape of an image.
    """

    def torch_net():
        net = Net(theirs, **{n: getattr(t, c)(*a) for n, c, *a in parts})
        for name, (shape, _) in (shapes or {}).items():
            setattr(net, name, t.Parameter(torch.zeros(shape)))
        return net

    def our_net():
        net = OurOneInput(ours, **{n: getattr(nn, c)(*a) for n, c, *a in parts})
        for name, (_, shape) in (shapes or {}).items():
            setattr(net, name, nn.Parameter(np.zeros(shape, np.float32)))
        return net

    return torch_net, our_net, refused


def same(*shape):
    return (shape, shape)


def windows(x, height, width):
    return x.reshape(len(x), height, x.shape[1] // height, width, x.shape[2] // width, x.shape[3])


CUBE = ("conv", "Conv2d", 3, 4, (3, 2))  # (6, 5, 3) -> (4, 4, 4)
CASES = {
    "a scale of flattened pixels": pair(
        lambda s, x: s.fc(s.conv(x).flatten(1) * s.scale),
        lambda s, x: s.fc(rows(s.conv(x)) * s.scale),
        [CONV, FC], {"scale": same(48)},
    ),
    "a scale of flattened pixels, as a row": pair(
        lambda s, x: s.fc(s.conv(x).flatten(1) * torch.exp(s.scale) + s.shift),
        lambda s, x: s.fc(rows(s.conv(x)) * ops.exp(s.scale) + s.shift.reshape(1, 48)),
        [CONV, FC], {"scale": same(1, 48), "shift": same(48)},
    ),
    "a matrix over flattened pixels": pair(
        lambda s, x: s.conv(x).flatten(1) @ s.matrix + s.bias,
        lambda s, x: rows(s.conv(x)) @ s.matrix + s.bias,
        [CONV], {"matrix": same(48, 7), "bias": same(7)},
    ),
    "a square matrix given to linear": pair(
        lambda s, x: s.fc(F.linear(s.conv(x).flatten(1), s.matrix, s.bias)),
        lambda s, x: s.fc(f.linear(rows(s.conv(x)), s.matrix, s.bias)),
        [CONV, FC], {"matrix": same(48, 48), "bias": same(48)},
    ),
    "a matrix whose rows become an image": pair(
        lambda s, x: s.up((x.mean((2, 3)) @ s.matrix + s.bias).view(-1, 8, 3, 2)),
        lambda s, x: s.up((x.mean(axis=(1, 2)) @ s.matrix + s.bias).reshape(-1, 3, 2, 8)),
        [("up", "ConvTranspose2d", 8, 3, 2, 2)], {"matrix": same(3, 48), "bias": same(48)},
    ),
    "an image is added": pair(
        lambda s, x: s.fc((s.conv(x) + s.image).flatten(1)),
        lambda s, x: s.fc(rows(s.conv(x) + s.image)),
        [CONV, FC], {"image": ((1, 4, 4, 3), (1, 4, 3, 4))},
    ),
    "a cube is added": pair(
        lambda s, x: (s.conv(x) + s.image).mean((2, 3)) * s.scale,
        lambda s, x: (s.conv(x) + s.image).mean(axis=(1, 2)) * s.scale,
        [CUBE], {"image": same(4, 4, 4), "scale": same(4)},
    ),
    "an image is added to a row that becomes one": pair(
        lambda s, x: s.up(s.first(x.mean((2, 3))).view(-1, 8, 3, 2) + s.image),
        lambda s, x: s.up(s.first(x.mean(axis=(1, 2))).reshape(-1, 3, 2, 8) + s.image),
        [("first", "Linear", 3, 48), ("up", "ConvTranspose2d", 8, 3, 2, 2)],
        {"image": ((8, 3, 2), (3, 2, 8))},
    ),
    "a gain for each channel": pair(
        lambda s, x: s.fc((s.conv(x) * s.gain.view(1, -1, 1, 1) + s.shift).flatten(1)),
        lambda s, x: s.fc(rows(s.conv(x) * s.gain + s.shift)),
        [CONV, FC], {"gain": same(4), "shift": ((4, 1, 1), (1, 1, 4))},
    ),
    "a gain for each line": pair(
        lambda s, x: s.fc((s.conv(x) * s.gain).flatten(1)),
        lambda s, x: s.fc(rows(s.conv(x) * s.gain)),
        [CONV, FC], {"gain": ((1, 4, 1), (4, 1, 1))},
    ),
    "the kernel of a convolution": pair(
        lambda s, x: F.conv2d(x, s.kernel, s.bias).flatten(1)[:, :5],
        lambda s, x: rows(f.conv2d(x, s.kernel, s.bias).transpose(0, 3, 1, 2))[:, :5],
        [], {"kernel": same(3, 3, 3, 3), "bias": same(3)},
    ),
    "layer normalisation of whole images": pair(
        lambda s, x: s.fc(s.norm(s.conv(x)).flatten(1)),
        lambda s, x: s.fc(rows(s.norm(s.conv(x)))),
        [CONV, FC], {},
    ),
    "a learned token and positions": pair(
        lambda s, x: s.fc(torch.cat(
            [s.token.expand(len(x), -1, -1), s.conv(x).flatten(2).transpose(1, 2)], 1
        ) + s.places)[:, 0],
        lambda s, x: s.fc(ops.concatenate(
            [ops.broadcast_to(s.token, shape=(len(x), 1, 4)),
             s.conv(x).reshape(len(x), 12, 4)], axis=1) + s.places)[:, 0],
        [CONV, ("fc", "Linear", 4, 5)], {"token": same(1, 1, 4), "places": same(1, 13, 4)},
    ),
    "pixels to channels as PixelUnshuffle": pair(
        lambda s, x: s.mix(F.pixel_unshuffle(s.wide(x), 2)),
        lambda s, x: s.mix(
            windows(s.wide(x), 3, 2).transpose(0, 1, 3, 5, 2, 4).reshape(len(x), 3, 2, 16)),
        [("wide", "Conv2d", 3, 4, (1, 2)), ("mix", "Conv2d", 16, 5, 1)],
    ),
    "pixels to channels in another order": pair(
        lambda s, x: s.mix(F.pixel_unshuffle(s.wide(x), 2)),
        lambda s, x: s.mix(
            windows(s.wide(x), 3, 2).transpose(0, 1, 3, 2, 4, 5).reshape(len(x), 3, 2, 16)),
        [("wide", "Conv2d", 3, 4, (1, 2)), ("mix", "Conv2d", 16, 5, 1)], refused=True,
    ),
    "the same, normalised and pooled": pair(
        lambda s, x: s.norm(F.pixel_unshuffle(s.wide(x), 2)).mean((2, 3)),
        lambda s, x: s.norm(f.relu(
            windows(s.wide(x), 3, 2).transpose(0, 1, 3, 2, 4, 5).reshape(len(x), 3, 2, 16))
        ).mean(axis=(1, 2)),
        [("wide", "Conv2d", 3, 4, (1, 2)), ("norm", "BatchNorm2d", 16)], refused=True,
    ),
    "channels to pixels as PixelShuffle": pair(
        lambda s, x: F.pixel_shuffle(s.wide(x), 2),
        lambda s, x: s.wide(x).reshape(len(x), 6, 5, 2, 2, 2).transpose(0, 1, 4, 2, 5, 3)
        .reshape(len(x), 12, 10, 2),
        [("wide", "Conv2d", 3, 8, 1)],
    ),
    "channels to pixels in another order": pair(
        lambda s, x: F.pixel_shuffle(s.wide(x), 2),
        lambda s, x: s.wide(x).reshape(len(x), 6, 5, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5)
        .reshape(len(x), 12, 10, 2),
        [("wide", "Conv2d", 3, 8, 1)], refused=True,
    ),
    "shuffled channels": pair(
        lambda s, x: s.mix(F.channel_shuffle(s.wide(x), 4)),
        lambda s, x: s.mix(
            s.wide(x).reshape(len(x), 6, 5, 4, 2).transpose(0, 1, 2, 4, 3)
            .reshape(len(x), 6, 5, 8)),
        [("wide", "Conv2d", 3, 8, 1), ("mix", "Conv2d", 8, 5, 1)],
    ),
    "slices beside one another, as in Focus": pair(
        lambda s, x: s.mix(torch.cat([x[..., ::2, :4], x[..., 1::2, :4]], 1)),
        lambda s, x: s.mix(ops.concatenate([x[:, ::2, :4], x[:, 1::2, :4]], axis=3)),
        [("mix", "Conv2d", 6, 5, 1)],
    ),
    "linear layers over channels, and a convolution": pair(
        lambda s, x: s.last(s.up(s.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
                            * s.gain.view(-1, 1, 1)).mean((2, 3)),
        lambda s, x: s.last(s.up(s.conv(x)) * s.gain).mean(axis=(1, 2)),
        [CONV, ("up", "Linear", 4, 6), ("last", "Conv2d", 6, 5, 1)], {"gain": same(6)},
    ),
    "columns as steps, channels first here, too": pair(
        lambda s, x: s.fc(s.conv(x).permute(0, 3, 1, 2).flatten(2)).mean(1),
        lambda s, x: s.fc(s.conv(x).transpose(0, 2, 3, 1).reshape(len(x), 3, 16)).mean(axis=1),
        [CONV, ("fc", "Linear", 16, 5)],
    ),
    "a mixer of pixels": pair(
        lambda s, x: s.mix(s.conv(x).flatten(2)).mean(2),
        lambda s, x: s.mix(s.conv(x).reshape(len(x), 12, 4).transpose(0, 2, 1)).mean(axis=2),
        [CONV, ("mix", "Linear", 12, 12)],
    ),
    "a product of two arrays of its own": pair(
        lambda s, x: s.fc(s.conv(x).flatten(1) * (s.one * s.two)),
        lambda s, x: s.fc(rows(s.conv(x)) * (s.one * s.two)),
        [CONV, FC], {"one": same(48), "two": same(1)},
    ),
    "an array cut in two": pair(
        lambda s, x: s.fc(s.conv(x).flatten(1) * s.both[0] + s.both[1]),
        lambda s, x: s.fc(rows(s.conv(x)) * s.both[0] + s.both[1]),
        [CONV, FC], {"both": same(2, 48)}, refused=True,
    ),
    "a share of pixels by weights that add up": pair(
        lambda s, x: (s.conv(x).flatten(1) * torch.softmax(s.share, 0)),
        lambda s, x: rows(s.conv(x).transpose(0, 3, 1, 2)) * f.softmax(s.share, axis=0),
        [CONV], {"share": same(48)},
    ),
    "no layer at all": pair(
        lambda s, x: (x.flatten(1) * s.scale).sum(1, keepdim=True),
        lambda s, x: (rows(x) * s.scale).sum(axis=1, keepdims=True),
        [], {"scale": same(90)},
    ),
}  # fmt: skip
WHOLE = "layer normalisation of whole images"
CASES[WHOLE] = (
    lambda: Net(
        lambda s, x: s.fc(s.norm(s.conv(x)).flatten(1)),
        conv=t.Conv2d(3, 4, 3), norm=t.LayerNorm((4, 4, 3)), fc=t.Linear(48, 5),
    ),
    lambda: OurOneInput(
        lambda s, x: s.fc(rows(s.norm(s.conv(x)))),
        conv=nn.Conv2d(3, 4, 3), norm=nn.LayerNorm((4, 3, 4)), fc=nn.Linear(48, 5),
    ),
    False,
)  # fmt: skip


GUESSED = ("a gain for each channel", "linear layers over channels, and a convolution")


def outputs(module, model):
    x = np.random.default_rng(1).standard_normal((3, 6, 5, 3)).astype(np.float32)
    theirs = module(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    return model.eval()(x).data, theirs.permute(0, 2, 3, 1) if theirs.ndim == 4 else theirs


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_same_outputs_or_an_error(name, told, tmp_path):
    torch_net, our_net, refused = CASES[name]
    module, model = filled(torch_net()), our_net()
    save_file(module.state_dict(), tmp_path / "x.safetensors")
    settings = {"input_shape": (6, 5, 3)} if told else {}
    if refused or (name not in GUESSED and not told):
        before = model.state_dict()
        with pytest.raises(StateError, match="order" if told else "input_shape="):
            md.load_weights(model, tmp_path / "x.safetensors", **settings)
        for key, array in model.state_dict().items():
            np.testing.assert_array_equal(array, before[key])
        return
    md.load_weights(model, tmp_path / "x.safetensors", **settings)
    assert_close(*outputs(module, model), "outputs")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case[-1]])
def test_there_and_back_gives_the_same_outputs(name, tmp_path):
    from safetensors.torch import load_file

    torch_net, our_net, *_ = CASES[name]
    module, model, other = filled(torch_net()), our_net(), torch_net().eval()
    save_file(module.state_dict(), tmp_path / "x.safetensors")
    md.load_weights(model, tmp_path / "x.safetensors", input_shape=(6, 5, 3))
    path = tmp_path / "back.safetensors"
    md.save_weights(model, path, "safetensors", input_shape=(6, 5, 3))
    for key, array in load_file(path).items():
        assert torch.equal(module.state_dict()[key].flatten(), array.flatten()), key
    other.load_state_dict(load_file(path))
    ours, theirs = outputs(other, model)
    assert_close(ours, theirs, "outputs")


LAYERS = [
    [("GroupNorm", 2, 8)], [("PReLU", 8)], [("PReLU",)],
    [("PixelShuffle", 2), ("Conv2d", 2, 4, 1)],
    [("AdaptiveAvgPool2d", (2, 3))], [("AdaptiveMaxPool2d", (3, 2))], [("SiLU",)],
    [("ReflectionPad2d", 1), ("Softplus",)], [("LayerNorm", None)],
]  # fmt: skip


@pytest.mark.parametrize("layers", LAYERS, ids=str)
def test_layers_before_flattened_pixels(layers, tmp_path):
    def net(library):
        made, first = [library.Conv2d(3, 8, 3)], library is t
        for kind, *settings in layers:
            given = settings if settings != [None] else [(8, 4, 3) if first else (4, 3, 8)]
            made.append(getattr(library, kind)(*given))
        x = np.zeros((1, 3, 6, 5) if first else (1, 6, 5, 3), np.float32)
        size = rows((t if first else nn).Sequential(*made)(torch.from_numpy(x) if first else x))
        return library.Sequential(*made, library.Flatten(), library.Linear(size.shape[1], 5))

    module, model = filled(net(t)), net(nn)
    save_file(module.state_dict(), tmp_path / "x.safetensors")
    md.load_weights(model, tmp_path / "x.safetensors", input_shape=(6, 5, 3))
    assert_close(*outputs(module, model), "outputs")
