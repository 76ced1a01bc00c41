"""PyTorch's side of `benchmarks.apps`: the same programs, channels last."""

from collections.abc import Callable
from typing import Any

import numpy as np

SIDE = 384  # pixels of a picture


def style(random: np.random.Generator) -> Callable[[], Any]:
    """The gradient of style, content and total variation."""
    import torch
    from torch import nn

    widths, layers = ((3, 64), (64, 64), (64, 128), (128, 128), (128, 256)), [nn.Conv2d(3, 3, 1)]
    for i, (here, there) in enumerate(widths):
        layers += [nn.MaxPool2d(2)] * (i in (2, 4))
        layers += [nn.Conv2d(here, there, 3, padding=1), nn.ReLU()]
    body = nn.Sequential(*layers).requires_grad_(False).to(memory_format=torch.channels_last)
    ends = [i for i, layer in enumerate(body) if isinstance(layer, nn.ReLU)]
    styled, kept = (ends[0], ends[2], ends[4]), ends[3]  # relu1_1, 2_1, 3_1; relu2_2

    def maps(x: Any) -> dict[int, Any]:
        found = {}
        for i, layer in enumerate(body):
            x = layer(x)
            found[i] = x
        return found

    def gram(x: Any) -> Any:
        rows = x.flatten(2)  # (1, C, H * W)
        return rows @ rows.transpose(1, 2) / rows.shape[2]

    content, painting, picture = (_picture(torch, random) for _ in range(3))
    with torch.no_grad():
        wanted = {i: gram(map_) for i, map_ in maps(painting).items() if i in styled}
        aim = maps(content)[kept]

    def step() -> None:
        x = picture.detach().requires_grad_()
        found = maps(x)
        loss = ((found[kept] - aim) ** 2).mean() / (aim**2).mean()
        for i, each in wanted.items():
            loss = loss + ((gram(found[i]) - each) ** 2).mean() / (each**2).mean()
        across, down = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
        loss = loss + (across**2).mean() + (down**2).mean()
        loss.backward()

    return step


def srcnn(random: np.random.Generator) -> Callable[[], Any]:
    """A step of training on patches that are interpolated already."""
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(1, 64, 9), nn.ReLU(), nn.Conv2d(64, 32, 1), nn.ReLU(), nn.Conv2d(32, 1, 5)
    )
    return _fitting(network, random.random((16, 1, 33, 33), np.float32), (16, 1, 21, 21))


def espcn(random: np.random.Generator) -> Callable[[], Any]:
    """A step of training on small patches."""
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(1, 64, 5), nn.ReLU(), nn.Conv2d(64, 32, 3), nn.ReLU(), nn.Conv2d(32, 9, 3)
    )
    return _fitting(network, random.random((16, 1, 17, 17), np.float32), (16, 9, 9, 9))


def gan(random: np.random.Generator) -> Callable[[], Any]:
    """A step of both networks, with 64 pictures."""
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits as loss_of
    from torch.nn.functional import one_hot

    generator = nn.Sequential(
        nn.Linear(64, 2048, bias=False), nn.Unflatten(1, (128, 4, 4)), nn.BatchNorm2d(128),
        nn.ReLU(), nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(2048, 1),
    )  # fmt: skip
    networks = [each.to(memory_format=torch.channels_last) for each in (generator, discriminator)]
    steps = [
        torch.optim.Adam(each.parameters(), rate, (0.5, 0.999))
        for each, rate in zip(networks, (6e-4, 2e-4), strict=True)
    ]
    weights = [each.detach() for each in generator.parameters()]
    average = [each.clone() for each in weights]
    real = torch.from_numpy(random.uniform(-1, 1, (64, 1, 32, 32)).astype(np.float32))
    ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)

    def step() -> None:
        z = torch.randn(64, 64)
        z[:, :10] = 4.0 * one_hot(z[:, :10].argmax(1), 10)
        fake = generator(z)
        steps[1].zero_grad()
        told = loss_of(discriminator(real), ones) + loss_of(discriminator(fake.detach()), zeros)
        (told / 2).backward()
        steps[1].step()
        discriminator.requires_grad_(False)
        steps[0].zero_grad()
        loss_of(discriminator(fake), ones).backward()
        steps[0].step()
        discriminator.requires_grad_(True)
        torch._foreach_lerp_(average, weights, 1e-3)

    return step


def _picture(torch: Any, random: np.random.Generator) -> Any:
    found = torch.from_numpy(random.random((1, 3, SIDE, SIDE), np.float32))
    return found.contiguous(memory_format=torch.channels_last)


def _fitting(network: Any, x: np.ndarray, shape: tuple[int, ...]) -> Callable[[], Any]:
    import torch

    network = network.to(memory_format=torch.channels_last)
    given = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    target = torch.zeros(shape).contiguous(memory_format=torch.channels_last)
    optimizer, loss = torch.optim.Adam(network.parameters(), 1e-3), torch.nn.MSELoss()

    def step() -> None:
        optimizer.zero_grad()
        loss(network(given), target).backward()
        optimizer.step()

    return step
