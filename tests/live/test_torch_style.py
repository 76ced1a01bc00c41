"""The losses of neural style, and their gradients, as PyTorch computes them written out."""

import numpy as np
import pytest

from minidl.apps.bodies import Body
from minidl.apps.style_losses import StyleLosses
from minidl.data import read_image

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install minidl[oracle]")
F = torch.nn.functional

VGG = "vgg19_relu3_1/vgg19_normalised_to_conv3_1.safetensors"
STYLE = ("relu1_1", "relu2_1", "relu3_1")


def maps_of(x, state):
    """x (1, 3, H, W) from 0 to 1; the maps of VGG-19 by name, from a file's own arrays."""

    def conv(x, name, padding=1):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    found, x = {}, conv(x, "preprocess", 0)
    for block, count in ((1, 2), (2, 2), (3, 1)):
        for i in range(1, count + 1):
            x = found[f"relu{block}_{i}"] = F.relu(conv(x, f"conv{block}_{i}"))
        x = F.max_pool2d(x, 2)
    return found


def gram(x):
    rows = x[0].flatten(1)
    return rows @ rows.T / rows.shape[1]


def relative(found, wanted):
    return ((found - wanted) ** 2).mean() / (wanted**2).mean()


def torch_terms(x, content, styles, mix, state):
    maps, wanted = maps_of(x, state), maps_of(content, state)
    style = 0
    for each, share in zip(styles, mix, strict=True):
        theirs = maps_of(each, state)
        parts = [relative(gram(maps[name]), gram(theirs[name])) for name in STYLE]
        style = style + share * sum(parts) / len(parts)
    down, across = x[:, :, 1:] - x[:, :, :-1], x[:, :, :, 1:] - x[:, :, :, :-1]
    tv = (down**2).mean() + (across**2).mean()
    return {"content": relative(maps["relu2_2"], wanted["relu2_2"]), "style": style, "tv": tv}


@pytest.mark.parametrize("size", [(48, 64), (37, 51)])
def test_losses_and_gradients_of_vgg19(size, shared_data):
    safetensors = pytest.importorskip("safetensors.torch")
    state = safetensors.load_file(shared_data / VGG)
    folder = shared_data / "style_images"
    names = ("content_tubingen", "style_the_scream_munch_1893", "style_shipwreck_turner_1805")
    pictures = [
        read_image(folder / f"{name}.jpg", size).astype(np.float32)[None] / 255 for name in names
    ]
    noise = np.random.default_rng(0).random(pictures[0].shape, np.float32)
    mix, weights = [0.3, 0.7], {"content": 0.5, "style": 2.0, "tv": 0.1}

    losses = StyleLosses("test", Body("test", shared_data / VGG), None, None)
    losses.aim(pictures[0], pictures[1:], mix)
    losses.weights = weights
    numbers, gradient = losses.gradient(noise)

    channels_first = [torch.tensor(p.transpose(0, 3, 1, 2)) for p in (noise, *pictures)]
    x, content, *styles = channels_first
    x.requires_grad_()
    terms = torch_terms(x, content, styles, mix, state)
    weighted = {name: weights[name] * value for name, value in terms.items()}
    total = sum(weighted.values())
    total.backward()
    theirs = [value.item() for value in (total, *weighted.values())]
    np.testing.assert_allclose(numbers, theirs, rtol=1e-4)
    wanted = x.grad.numpy().transpose(0, 2, 3, 1)
    assert np.linalg.norm(gradient - wanted) < 1e-4 * np.linalg.norm(wanted)
    np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-4 * abs(wanted).max())
