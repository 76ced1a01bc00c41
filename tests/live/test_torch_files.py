"""safetensors files of real PyTorch modules, and those that PyTorch reads."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from torch_compare import assert_close, on_planes, torch

import minidl as md
from minidl import models, nn
from minidl.errors import FileFormatError, StateError

save_file = pytest.importorskip("safetensors.torch").save_file
t = torch.nn


class Pair(NamedTuple):
    torch: Callable[[], Any]
    minidl: Callable[[], nn.Module]
    inputs: tuple[int, ...] = (11, 9, 4)  # the shape of one; images channels last
    below: int = 0  # inputs are integers below it
    names: dict[str, str] | None = None  # of PyTorch's parts in minidl's model


class First(t.Module):
    """A recurrent layer's outputs alone."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


class OurFirst(nn.Module):
    def __init__(self, layer):
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


class Tokens(t.Module):
    def __init__(self, kind):
        super().__init__()
        self.embedding = t.Embedding(10, 5)
        self.first = First(getattr(t, kind)(5, 5, batch_first=True))
        self.second = First(getattr(t, kind)(5, 5, batch_first=True))
        self.norm, self.head = t.LayerNorm(5), t.Linear(5, 3)

    def forward(self, x):
        return self.head(self.norm(self.second(self.first(self.embedding(x)))))


class OurTokens(nn.Module):
    def __init__(self, kind):
        self.embedding = nn.Embedding(10, 5)
        self.first, self.second = (OurFirst(getattr(nn, kind)(5, 5)) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.norm(self.second(self.first(self.embedding(x)))))


def flattened():
    """Rows of the first Linear in PyTorch's order (C, H, W)."""
    return t.Sequential(
        t.Conv2d(4, 6, 3, stride=2), t.BatchNorm2d(6), t.ReLU(), t.MaxPool2d(2), t.Flatten(),
        t.Dropout(), t.Linear(6 * 2 * 2, 7), t.ReLU(), t.Linear(7, 24), t.Linear(24, 3),
    )  # fmt: skip


def our_flattened():
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(), nn.Linear(6 * 2 * 2, 7), nn.ReLU(), nn.Linear(7, 24), nn.Linear(24, 3),
    )  # fmt: skip


def convolutions():
    return t.Sequential(
        t.Conv2d(4, 8, 3, padding=1), t.Conv2d(8, 12, (3, 2), 2, groups=4),
        t.Conv2d(12, 6, 2, dilation=2, bias=False),
    )  # fmt: skip


def our_convolutions():
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 12, (3, 2), 2, groups=4),
        nn.Conv2d(12, 6, 2, dilation=2, bias=False),
    )  # fmt: skip


def depthwise():
    return t.Sequential(
        t.Conv2d(4, 8, 3, groups=4), t.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False),
        t.Conv2d(8, 5, 1),
    )  # fmt: skip


def our_depthwise():
    return nn.Sequential(
        nn.DepthwiseConv2d(4, 3, multiplier=2), nn.DepthwiseConv2d(8, 3, 2, 1, bias=False),
        nn.PointwiseConv2d(8, 5),
    )  # fmt: skip


class Separable(t.Module):
    def __init__(self):
        super().__init__()
        self.depthwise = t.Conv2d(4, 8, 3, groups=4, bias=False)
        self.pointwise = t.Conv2d(8, 5, 1)

    def forward(self, x):
        return self.pointwise(self.depthwise(x))


def transposed():
    return t.Sequential(
        t.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2),
        t.ConvTranspose2d(6, 3, (2, 3), bias=False, dilation=2),
    )  # fmt: skip


def our_transposed():
    return nn.Sequential(
        nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2),
        nn.ConvTranspose2d(6, 3, (2, 3), bias=False, dilation=2),
    )


def deep():
    """More than ten convolutions alike: their names sort as 0, 1, 10, 11, 2, ..."""
    return t.Sequential(*(t.Conv2d(4, 4, 3, padding=1) for _ in range(12)))


def our_deep():
    return nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(12)))


IMAGES = {
    "convolutions": Pair(convolutions, our_convolutions),
    "depthwise": Pair(depthwise, our_depthwise),
    "separable": Pair(Separable, lambda: nn.SeparableConv2d(4, 5, 3, multiplier=2)),
    "transposed": Pair(transposed, our_transposed),
    "flattened": Pair(flattened, our_flattened),
    "deep": Pair(deep, our_deep),
}


def both_ways(kind: str) -> Pair:
    """Two layers, each in both directions."""
    settings = {"num_layers": 2, "bidirectional": True}
    return Pair(
        lambda: First(getattr(t, kind)(4, 5, batch_first=True, **settings)),
        lambda: OurFirst(getattr(nn, kind)(4, 5, **settings)),
        (6, 4),
    )


OTHERS = {
    **{f"{kind} both ways": both_ways(kind) for kind in ("RNN", "LSTM", "GRU")},
    "rnn": Pair(lambda: Tokens("RNN"), lambda: OurTokens("RNN"), (6,), 10),
    "lstm": Pair(lambda: Tokens("LSTM"), lambda: OurTokens("LSTM"), (6,), 10),
    "gru": Pair(lambda: Tokens("GRU"), lambda: OurTokens("GRU"), (6,), 10),
    "features": Pair(
        lambda: t.Sequential(t.Linear(4, 5), t.BatchNorm1d(5), t.Linear(5, 3, bias=False)),
        lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3, bias=False)),
        (4,),
    ),
    "layer norm of two axes": Pair(
        lambda: t.Sequential(t.LayerNorm((3, 4))), lambda: nn.Sequential(nn.LayerNorm((3, 4))),
        (3, 4),
    ),
}  # fmt: skip
PAIRS = IMAGES | OTHERS


def randomised(module: Any) -> Any:
    """The module with other numbers than it began with, its running statistics too."""
    random = torch.Generator().manual_seed(5)
    state = {
        name: torch.rand(array.shape, generator=random) + 0.5 if name.endswith("var") else
        torch.randn(array.shape, generator=random) * 0.5 if array.is_floating_point() else array + 7
        for name, array in module.state_dict().items()
    }  # fmt: skip
    module.load_state_dict(state)
    return module.eval()


def both_outputs(pair: Pair, module: Any, model: nn.Module) -> tuple[np.ndarray, Any]:
    random = np.random.default_rng(1)
    x = random.standard_normal((3, *pair.inputs)).astype(np.float32)
    if pair.below:
        x = random.integers(0, pair.below, (3, *pair.inputs))
    ours = model.eval()(x).data
    if len(pair.inputs) < 3:
        return ours, module(torch.from_numpy(x))
    theirs = module(torch.from_numpy(x).permute(0, 3, 1, 2))
    return ours, theirs.permute(0, 2, 3, 1) if theirs.ndim == 4 else theirs


def save(module: Any, path: Any) -> Any:
    save_file({name: array.contiguous() for name, array in module.state_dict().items()}, path)
    return path


def check(pair: Pair, module: Any, model: nn.Module, path: Any, **settings: Any) -> None:
    """Load the module's file, and compare the outputs."""
    ours, theirs = both_outputs(pair, module, model)
    assert np.abs(ours - theirs.detach().numpy()).max() > 1e-3
    report = md.load_weights(model, path, **settings)
    assert report.loaded == list(model.state_dict())
    assert_close(*both_outputs(pair, module, model), "outputs")


@pytest.mark.parametrize("pair", PAIRS)
def test_what_pytorch_writes_computes_the_same(pair, tmp_path):
    pair = PAIRS[pair]
    module = randomised(pair.torch())
    check(pair, module, pair.minidl(), save(module, tmp_path / "x.safetensors"))


@pytest.mark.parametrize("pair", PAIRS)
def test_pytorch_loads_what_minidl_writes(pair, tmp_path):
    from safetensors.torch import load_file

    pair, path = PAIRS[pair], tmp_path / "x.safetensors"
    md.manual_seed(4)
    model, module = pair.minidl(), randomised(pair.torch())
    for i, buffer in enumerate(model.buffers()):
        buffer.data = np.random.default_rng(i).uniform(0.5, 1.5, buffer.shape).astype(np.float32)
    md.save_weights(model, path, "safetensors")
    module.load_state_dict(load_file(path), strict=True)
    assert_close(*both_outputs(pair, module, model), "outputs")


@pytest.mark.parametrize("pair", PAIRS)
def test_there_and_back_keeps_every_bit(pair, tmp_path):
    """Also of recurrent layers, but for the two biases that became one."""
    from safetensors.torch import load_file

    joined = "GRU" not in pair and pair != "gru"  # its two biases
    pair = PAIRS[pair]
    module, model = randomised(pair.torch()), pair.minidl()
    md.load_weights(model, save(module, tmp_path / "there.safetensors"))
    md.save_weights(model, tmp_path / "back.safetensors", "safetensors")
    back = load_file(tmp_path / "back.safetensors")
    for name, array in module.state_dict().items():
        if "num_batches" not in name and not ("bias_" in name and joined):
            assert torch.equal(back[name], array), name


def test_layers_of_other_names_in_their_order(tmp_path):
    pair = IMAGES["flattened"]
    module, model = randomised(pair.torch()), pair.minidl()
    path = tmp_path / "x.safetensors"
    save_file({f"net.part{name}": array for name, array in module.state_dict().items()}, path)
    check(pair, module, model, path)


def test_rows_of_layers_with_other_numbers_are_matched_by_their_order(tmp_path):
    """Activations are parts of their own in PyTorch, so that its "2" is minidl's "1"."""
    module = t.Sequential(
        t.Conv2d(4, 4, 1), t.ReLU(), t.Conv2d(4, 4, 1), t.ReLU(), t.Conv2d(4, 4, 1)
    )
    model = nn.Sequential(
        nn.Conv2d(4, 4, 1, activation="relu"), nn.Conv2d(4, 4, 1, activation="relu"),
        nn.Conv2d(4, 4, 1),
    )  # fmt: skip
    module = randomised(module)
    check(Pair(None, None), module, model, save(module, tmp_path / "x.safetensors"))


def test_numbers_that_name_layers_of_other_shapes(tmp_path):
    pair = IMAGES["flattened"]
    module = t.Sequential(t.Identity(), t.Identity(), *randomised(pair.torch()))
    check(pair, module, pair.minidl(), save(module, tmp_path / "x.safetensors"))


def test_a_lenet_in_pytorch(tmp_path):
    """Whose names sort with the classifier first; the images have one channel."""

    class LeNet(t.Module):
        def __init__(self):
            super().__init__()
            self.features = t.Sequential(
                t.Conv2d(1, 6, 5), t.MaxPool2d(2), t.Conv2d(6, 16, 5), t.MaxPool2d(2), t.Flatten()
            )
            self.classifier = t.Sequential(t.Linear(400, 120), t.Linear(120, 84), t.Linear(84, 10))

        def forward(self, x):
            x = self.features[1](torch.relu(self.features[0](x)))
            x = self.features[3](torch.relu(self.features[2](x)))
            x = torch.relu(self.classifier[0](self.features[4](x)))
            return self.classifier[2](torch.relu(self.classifier[1](x)))

    module = randomised(LeNet())
    pair = Pair(LeNet, models.lenet5, (32, 32, 1))
    check(pair, module, models.lenet5(), save(module, tmp_path / "x.safetensors"))


# Flattening


class Declared(t.Module):
    """Flattens by a part that is declared before the others, or without a part."""

    def __init__(self, part: bool):
        super().__init__()
        self.flatten = t.Flatten() if part else None
        self.conv, self.head = t.Conv2d(4, 3, 3), t.Linear(9 * 7 * 3, 2)

    def forward(self, x):
        x = self.conv(x)
        return self.head(x.flatten(1) if self.flatten is None else self.flatten(x))


class OurDeclared(nn.Module):
    def __init__(self, part: bool):
        self.flatten = nn.Flatten() if part else None
        self.conv, self.head = nn.Conv2d(4, 3, 3), nn.Linear(9 * 7 * 3, 2)

    def forward(self, x):
        x = self.conv(x)
        return self.head(x.reshape(len(x), -1) if self.flatten is None else self.flatten(x))


@pytest.mark.parametrize("part", [True, False])
def test_rows_of_a_flattened_image_are_never_left_in_the_wrong_order(part, tmp_path):
    """Where the model doesn't show what is flattened, an error is right."""
    pair = Pair(None, None)
    module, model = randomised(Declared(part)), OurDeclared(part)
    try:
        md.load_weights(model, save(module, tmp_path / "x.safetensors"))
    except StateError:
        return
    assert_close(*both_outputs(pair, module, model), "outputs")


def test_a_normalisation_of_a_flattened_image(tmp_path):
    module = t.Sequential(
        t.Conv2d(4, 3, 3), t.Flatten(), t.BatchNorm1d(9 * 7 * 3), t.Linear(9 * 7 * 3, 2)
    )
    model = nn.Sequential(
        nn.Conv2d(4, 3, 3), nn.Flatten(), nn.BatchNorm1d(9 * 7 * 3), nn.Linear(9 * 7 * 3, 2)
    )
    module = randomised(module)
    check(Pair(None, None), module, model, save(module, tmp_path / "x.safetensors"))


# Types, and layers that minidl doesn't have


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_converted(dtype, tmp_path):
    module, model = randomised(t.Linear(4, 3)).to(dtype), nn.Linear(4, 3)
    md.load_weights(model, save(module, tmp_path / "x.safetensors"))
    assert model.weight.dtype == np.float32
    np.testing.assert_array_equal(model.weight.data.T, module.weight.detach().float().numpy())


def test_floats_that_numpy_does_not_have(tmp_path):
    path = save(t.Linear(4, 3).to(torch.float8_e4m3fn), tmp_path / "x.safetensors")
    model = nn.Linear(4, 3)
    before = model.state_dict()
    with pytest.raises(FileFormatError, match="convert float8 to float32 first"):
        md.load_weights(model, path)
    np.testing.assert_array_equal(model.weight.data, before["weight"])


@pytest.mark.parametrize("settings", [{"num_layers": 2}, {"bidirectional": True}, {"bias": False}])
def test_recurrent_layers_of_other_forms_are_refused(settings, tmp_path):
    path = save(t.LSTM(4, 3, **settings), tmp_path / "x.safetensors")
    for own in ({}, {"num_layers": 3}, {"num_layers": 2, "bidirectional": True}):
        with pytest.raises(StateError, match="weight_ih"):
            md.load_weights(nn.LSTM(4, 3, **own), path)


def test_a_trained_module(tmp_path):
    """Its batch normalisations have counted batches."""
    pair = IMAGES["flattened"]
    module = pair.torch().train()
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(3):
        module(torch.randn(8, 4, 11, 9)).square().mean().backward()
        optimizer.step()
    module.eval()
    check(pair, module, pair.minidl(), save(module, tmp_path / "x.safetensors"))


def test_planes_and_images_are_the_same_pictures():
    """The helper's own turn: what the others rely on."""
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert torch.equal(on_planes(t.Identity())(x), x)
