"""A network in minidl and in PyTorch: weights carried over, outputs and gradients compared."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from torch_compare import torch

from minidl import models, nn
from minidl.models.sources import IMAGENET, ImageFormat

import torch_networks as zoo  # isort: skip  # needs torch, which torch_compare has looked for

Array = np.ndarray
CLASSES = 10


class Case(NamedTuple):
    torch: Callable[..., Any]
    minidl: str
    size: tuple[int, int] = (71, 90)
    image_format: ImageFormat | None = IMAGENET
    settings: Mapping[str, Any] = MappingProxyType({})  # of the network in minidl
    rename: Callable[[str], str | None] | None = None  # layers that no source translates
    channels: int = 3


def randomized(case: Case, **settings: Any) -> Any:
    """The network in PyTorch with random numbers everywhere."""
    net = zoo.randomize(case.torch(num_classes=CLASSES, **settings))
    for module in net.modules():
        if isinstance(module, torch.nn.LocalResponseNorm):
            module.alpha, module.k = 5e-4, 2.0  # AlexNet's; the GoogLeNet paper gives none
    return net


def made(case: Case) -> Any:
    """The network in PyTorch; its running statistics are near those of some images.

    Otherwise numbers grow from block to block, until the last hide all others. Variances are half
    as large again, for deep networks blow rounding up by as much as they tell images apart.
    """
    net = randomized(case)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    if any("running" in name for name in net.state_dict()):
        with torch.no_grad():
            net.train()(planes(images(case, seed=3)))
            for name, array in net.state_dict().items():
                if name.endswith("running_var"):
                    array *= 1.5
    return net.eval()


def images(case: Case, count: int = 2, seed: int = 1) -> Array:
    random = np.random.default_rng(seed)
    return random.standard_normal((count, *case.size, case.channels)).astype(np.float32)


def planes(x: Array) -> Any:
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def named(case: Case, state: dict[str, Any]) -> dict[str, Any]:
    """The state as the file has it, or with minidl's names for what no source translates."""
    if case.rename is None:
        return state
    split = {name: name.rpartition(".") for name in state}
    return {f"{case.rename(split[n][0])}.{split[n][2]}": array for n, array in state.items()}


def created(case: Case, weights: Any, **settings: Any) -> models.Network:
    return models.create(
        case.minidl, weights, num_classes=CLASSES, **(case.settings | settings)
    ).eval()


def arrays(state: dict[str, Any]) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in state.items()}


def assert_close(
    got: Array, expected: Any, tolerance: float, what: str = "outputs", floor: float = 0.0
) -> None:
    """Equal but for rounding, relative to the largest entry, or to `floor` if that is larger."""
    expected = np.asarray(expected)
    assert got.dtype == expected.dtype, what
    assert got.shape == expected.shape, what
    scale = max(np.abs(expected).max(), floor)
    assert scale > 0, what
    np.testing.assert_allclose(got / scale, expected / scale, 0, tolerance, err_msg=what)


@torch.no_grad()
def check_outputs(
    case: Case, net: Any, model: models.Network, contrast: float = 1.0, apart: float = 0.02
) -> None:
    """The same scores of two images, which lie `apart` at least.

    contrast: of the second, where networks tell noise apart by nothing else.
    """
    x = images(case)
    x[1] *= contrast
    expected = net(planes(x)).numpy()
    assert np.abs(expected[0] - expected[1]).max() > apart * np.abs(expected).max()
    assert_close(model(x).data, expected, 1e-4)


def training(network: Any, dropout: type) -> Any:
    """In training mode, but without dropout."""
    network.train()
    for module in network.modules():
        if isinstance(module, dropout):
            module.eval()
    return network


def check_step(case: Case, dtype: type, tolerance: float, count: int = 4) -> None:
    """Outputs in training, all gradients of a loss, and the statistics that it moves."""
    net = randomized(case).to(torch.tensor(dtype(0)).dtype)
    model = created(case, arrays(named(case, net.state_dict())))
    training(model, nn.Dropout)
    training(net, torch.nn.Dropout)
    x, target = images(case, count).astype(dtype), np.arange(count) % CLASSES
    scores, expected = model(x), net(planes(x))
    assert_close(scores.data, expected.detach(), tolerance)
    nn.CrossEntropyLoss()(scores, target).backward()
    torch.nn.CrossEntropyLoss()(expected, torch.from_numpy(target)).backward()
    after = net.state_dict() | {name: p.grad for name, p in net.named_parameters()}
    wanted = created(case, arrays(named(case, after))).state_dict()
    # A bias that the next batch normalisation takes away has none but rounding.
    floor = 1e-6 * max(np.abs(p.grad.numpy()).max() for p in net.parameters())
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, wanted.pop(name), tolerance, f"gradient of {name}", floor)
    for name, buffer in model.named_buffers():
        assert_close(buffer.data, wanted.pop(name), tolerance, name)
    assert not wanted
