"""Images that PyTorch flattens in the order (C, H, W), in networks of all kinds.

What minidl makes of their files is the same, or it refuses."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from torch_compare import assert_close, torch

import minidl as md
from minidl import nn, ops
from minidl.errors import ArgumentError, StateError

save_file = pytest.importorskip("safetensors.torch").save_file
t, F, f = torch.nn, torch.nn.functional, nn.functional


class Net(t.Module):
    """A module of parts and a function of them and the input."""

    def __init__(self, run, **parts):
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *x):
        return self.run(self, *x)


class OurNet(nn.Module):
    def __init__(self, run, **parts):
        vars(self)["run"] = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *x):
        return self.run(self, *x)


class OurOneInput(OurNet):
    def forward(self, x):
        return self.run(self, x)


class Case(NamedTuple):
    torch: Any
    minidl: Any
    inputs: Any = (6, 5, 3)  # a shape, or a list of them; images channels last
    given: bool = False  # whether minidl must be told the shape
    refused: bool = False  # even then


def pair(theirs, ours, inputs=(6, 5, 3), parts=(), given=False, refused=False):
    """parts: (name, class in both libraries, its arguments)."""
    kind = OurNet if isinstance(inputs, list) else OurOneInput
    return Case(
        lambda: Net(theirs, **{n: getattr(t, c)(*a) for n, c, *a in parts}),
        lambda: kind(ours, **{n: getattr(nn, c)(*a) for n, c, *a in parts}),
        inputs, given, refused,
    )  # fmt: skip


def rows(x):
    return x.reshape(len(x), -1)


CONV = ("conv", "Conv2d", 3, 4, 3)  # (6, 5, 3) -> (4, 3, 4)
FC, MORE = ("fc", "Linear", 48, 5), ("more", "Linear", 48, 6)

CASES = {
    "two heads": pair(
        lambda s, x: torch.cat([s.fc(s.conv(x).flatten(1)), s.more(s.conv(x).flatten(1))], 1),
        lambda s, x: ops.concatenate([s.fc(rows(s.conv(x))), s.more(rows(s.conv(x)))], axis=1),
        parts=[CONV, FC, MORE],
    ),
    "squeeze and excitation": pair(
        lambda s, x: s.fc(
            (s.conv(x) * torch.sigmoid(s.up(s.down(s.conv(x).mean((2, 3)))))[:, :, None, None]
             ).flatten(1)),
        lambda s, x: s.fc(rows(
            s.conv(x)
            * f.sigmoid(s.up(s.down(s.conv(x).mean(axis=(1, 2))))).reshape(len(x), 1, 1, 4))),
        parts=[CONV, ("down", "Linear", 4, 2), ("up", "Linear", 2, 4), FC],
    ),
    "concatenated maps": pair(
        lambda s, x: s.fc(torch.cat([s.conv(x), s.other(x)], 1).flatten(1)),
        lambda s, x: s.fc(rows(ops.concatenate([s.conv(x), s.other(x)], axis=3))),
        parts=[CONV, ("other", "Conv2d", 3, 2, 3), ("fc", "Linear", 72, 5)],
    ),
    "flattened maps concatenated": pair(
        lambda s, x: s.fc(torch.cat([s.conv(x).flatten(1), s.other(x).flatten(1)], 1)),
        lambda s, x: s.fc(ops.concatenate([rows(s.conv(x)), rows(s.other(x))], axis=1)),
        parts=[CONV, ("other", "Conv2d", 3, 2, 2), ("fc", "Linear", 88, 5)], given=True,
    ),
    "pixels beside features": pair(
        lambda s, x, y: s.fc(torch.cat([s.conv(x).flatten(1), y], 1)),
        lambda s, x, y: s.fc(ops.concatenate([rows(s.conv(x)), y], axis=1)),
        [(6, 5, 3), (7,)], [CONV, ("fc", "Linear", 55, 5)], given=True,
    ),
    "normalised rows, and dropout": pair(
        lambda s, x: s.fc(torch.tanh(s.bn(s.conv(x).flatten(1)))),
        lambda s, x: s.fc(f.tanh(s.bn(rows(s.conv(x))))),
        parts=[CONV, ("bn", "BatchNorm1d", 48), FC],
    ),
    "a second linear layer as large": pair(
        lambda s, x: s.fc(torch.relu(s.same(s.conv(x).flatten(1)))),
        lambda s, x: s.fc(f.relu(s.same(rows(s.conv(x))))),
        parts=[CONV, ("same", "Linear", 48, 48), FC],
    ),
    "a residual around a linear layer": pair(
        lambda s, x: s.fc(s.conv(x).flatten(1) + s.same(s.conv(x).flatten(1))),
        lambda s, x: s.fc(rows(s.conv(x)) + s.same(rows(s.conv(x)))),
        parts=[CONV, ("same", "Linear", 48, 48), FC],
    ),
    "decoder": pair(
        lambda s, x: s.up(torch.relu(s.first(x)).view(-1, 8, 3, 2)),
        lambda s, x: s.up(f.relu(s.first(x)).reshape(-1, 3, 2, 8)),
        (6,), [("first", "Linear", 6, 48), ("up", "ConvTranspose2d", 8, 3, 2, 2)],
    ),
    "decoder with a normalisation of rows": pair(
        lambda s, x: s.up(torch.relu(s.bn(s.first(x))).view(-1, 8, 3, 2)),
        lambda s, x: s.up(f.relu(s.bn(s.first(x))).reshape(-1, 3, 2, 8)),
        (6,), [("first", "Linear", 6, 48), ("bn", "BatchNorm1d", 48),
               ("up", "ConvTranspose2d", 8, 3, 2, 2)],
    ),
    "decoder whose layer has a second use": pair(
        lambda s, x: s.up((s.first(x)).view(-1, 8, 3, 2)).flatten(1)[:, :5] + s.fc(s.first(x)),
        lambda s, x: (
            rows(s.up(s.first(x).reshape(-1, 3, 2, 8)).transpose(0, 3, 1, 2))[:, :5]
            + s.fc(s.first(x))),
        (6,), [("first", "Linear", 6, 48), FC, ("up", "ConvTranspose2d", 8, 3, 2, 2)],
    ),
    "autoencoder": pair(
        lambda s, x: s.up(s.back(torch.relu(s.fc(s.conv(x).flatten(1)))).view(-1, 4, 4, 3)),
        lambda s, x: s.up(s.back(f.relu(s.fc(rows(s.conv(x))))).reshape(-1, 4, 3, 4)),
        parts=[CONV, FC, ("back", "Linear", 5, 48), ("up", "ConvTranspose2d", 4, 3, 3)],
    ),
    "flattened and back": pair(
        lambda s, x: s.up((s.conv(x).flatten(1) * 2).view(-1, 4, 4, 3)),
        lambda s, x: s.up((rows(s.conv(x)) * 2).reshape(-1, 4, 3, 4)),
        parts=[CONV, ("up", "ConvTranspose2d", 4, 3, 3)], given=True,
    ),
    "channels turned first in minidl, too": pair(
        lambda s, x: s.fc(s.conv(x).flatten(1)),
        lambda s, x: s.fc(rows(s.conv(x).transpose(0, 3, 1, 2))),
        parts=[CONV, FC],
    ),
    "a decoder that turns channels last itself": pair(
        lambda s, x: s.up(s.first(x).view(-1, 8, 3, 2)),
        lambda s, x: s.up(s.first(x).reshape(-1, 8, 3, 2).transpose(0, 2, 3, 1)),
        (6,), [("first", "Linear", 6, 48), ("up", "ConvTranspose2d", 8, 3, 2, 2)],
    ),
    "a 1x1 map": pair(
        lambda s, x: s.fc(s.conv(x).flatten(1)), lambda s, x: s.fc(rows(s.conv(x))), (3, 3, 3),
        [CONV, ("fc", "Linear", 4, 5)],
    ),
    "an average over the image": pair(
        lambda s, x: s.fc(s.conv(x).mean((2, 3))), lambda s, x: s.fc(s.conv(x).mean(axis=(1, 2))),
        parts=[CONV, ("fc", "Linear", 4, 5)],
    ),
    "the image itself": pair(
        lambda s, x: s.fc(x.flatten(1)), lambda s, x: s.fc(rows(x)),
        parts=[("fc", "Linear", 90, 5)], given=True,
    ),
    "halves of a layer's features": pair(
        lambda s, x: s.fc(s.same(s.conv(x).flatten(1)).chunk(2, 1)[1]),
        lambda s, x: s.fc(ops.split(s.same(rows(s.conv(x))), sections=2, axis=1)[1]),
        parts=[CONV, ("same", "Linear", 48, 48), ("fc", "Linear", 24, 5)],
    ),
    "half of the pixels": pair(
        lambda s, x: s.fc(s.conv(x).flatten(1)[:, :24]), lambda s, x: s.fc(rows(s.conv(x))[:, :24]),
        parts=[CONV, ("fc", "Linear", 24, 5)], refused=True,
    ),
    "pixels as steps": pair(
        lambda s, x: s.fc(s.conv(x).flatten(2).transpose(1, 2)).mean(1),
        lambda s, x: s.fc(s.conv(x).reshape(len(x), -1, 4)).mean(axis=1),
        parts=[CONV, ("fc", "Linear", 4, 5)],
    ),
    "columns as steps": pair(
        lambda s, x: s.fc(s.conv(x).permute(0, 3, 1, 2).flatten(2)).mean(1),
        lambda s, x: s.fc(s.conv(x).transpose(0, 2, 1, 3).reshape(len(x), 3, 16)).mean(axis=1),
        parts=[CONV, ("fc", "Linear", 16, 5)], refused=True,
    ),
    "one row scaled by its length": pair(
        lambda s, x: s.fc(s.conv(x).flatten(1) / s.conv(x).flatten(1).sum(1, keepdim=True)),
        lambda s, x: s.fc(rows(s.conv(x)) / rows(s.conv(x)).sum(axis=1, keepdims=True)),
        parts=[CONV, FC],
    ),
    "two images through one tower": pair(
        lambda s, x, y: s.fc(torch.cat([s.conv(x).flatten(1), s.conv(y).flatten(1)], 1)),
        lambda s, x, y: s.fc(ops.concatenate([rows(s.conv(x)), rows(s.conv(y))], axis=1)),
        [(6, 5, 3), (6, 5, 3)], [CONV, ("fc", "Linear", 96, 5)], given=True,
    ),
}  # fmt: skip


def filled(module):
    random = torch.Generator().manual_seed(5)
    state = {
        n: torch.rand(a.shape, generator=random) + 0.5 if a.is_floating_point() else a
        for n, a in module.state_dict().items()
    }
    module.load_state_dict(state)
    return module.eval()


def outputs(case, module, model):
    random = np.random.default_rng(1)
    shapes = case.inputs if isinstance(case.inputs, list) else [case.inputs]
    xs = [random.standard_normal((3, *shape)).astype(np.float32) for shape in shapes]
    theirs = module(*(torch.from_numpy(x.transpose(0, 3, 1, 2).copy() if x.ndim == 4 else x)
                      for x in xs))  # fmt: skip
    theirs = theirs.permute(0, 2, 3, 1) if theirs.ndim == 4 else theirs
    return model.eval()(*xs).data, theirs


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_same_outputs_or_an_error(name, told, tmp_path):
    case = CASES[name]
    module, model = filled(case.torch()), case.minidl()
    save_file(module.state_dict(), tmp_path / "x.safetensors")
    settings = {"input_shape": case.inputs} if told else {}
    if case.refused or (case.given and not told):
        before = model.state_dict()
        with pytest.raises(StateError, match="order" if case.refused else "input_shape="):
            md.load_weights(model, tmp_path / "x.safetensors", **settings)
        for key, array in model.state_dict().items():
            np.testing.assert_array_equal(array, before[key])
        return
    md.load_weights(model, tmp_path / "x.safetensors", **settings)
    assert_close(*outputs(case, module, model), "outputs")


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if not case.refused])
def test_there_and_back_keeps_every_bit(name, tmp_path):
    from safetensors.torch import load_file

    case = CASES[name]
    module, model = filled(case.torch()), case.minidl()
    save_file(module.state_dict(), tmp_path / "x.safetensors")
    md.load_weights(model, tmp_path / "x.safetensors", input_shape=case.inputs)
    path = tmp_path / "back.safetensors"
    md.save_weights(model, path, "safetensors", input_shape=case.inputs)
    for key, array in load_file(path).items():
        assert torch.equal(module.state_dict()[key], array), key


def test_a_shape_that_the_model_does_not_run_on(tmp_path):
    case = CASES["two heads"]
    save_file(case.torch().state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(ArgumentError, match=r"input_shape=\(9, 9, 3\): .* doesn't run on zeros"):
        md.load_weights(case.minidl(), tmp_path / "x.safetensors", input_shape=(9, 9, 3))
    with pytest.raises(ArgumentError, match="input_shape must be the shape of one example"):
        md.load_weights(case.minidl(), tmp_path / "x.safetensors", input_shape=6)
