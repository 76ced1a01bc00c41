"""What `md.config` can turn off: with and without it, and docs/settings.md."""

import re
from pathlib import Path

import numpy as np
import pytest
from counting import Counting

import minidl as md
from minidl import data, models, nn, optim, train

ROOT = Path(__file__).resolve().parents[1]


def images(count=12, channels=3, seed=0):
    random = np.random.default_rng(seed)
    x = random.standard_normal((count, 32, 32, channels)).astype(np.float32)
    return data.ArrayDataset(x, random.integers(0, 4, count))


# fuse


def pooled():
    md.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, activation="relu"), nn.MaxPool2d(2),
        nn.Conv2d(8, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip


def ops_run(model, x):
    names = []
    with md.register_op_hook(lambda op, *_: names.append(op.name)):
        model(x)
    return names


def by_hand(model, x):
    for layer in model:
        x = layer(x)
    return x


def test_fuse():
    model, x = pooled(), images().arrays[0]
    assert ops_run(model, x) == ["conv2d_relu_max_pool"] * 2
    fused = model(x)
    fused.sum().backward()
    gradients = [p.grad for p in model.parameters()]
    model.zero_grad()
    md.config.fuse = False
    assert "conv2d_relu_max_pool" not in ops_run(model, x)
    assert ops_run(model, x).count("max_pool2d") == 2
    plain = model(x)
    np.testing.assert_array_equal(plain.data, by_hand(model, x).data)
    np.testing.assert_allclose(fused.data, plain.data, rtol=1e-4, atol=1e-6)
    plain.sum().backward()
    for gradient, parameter in zip(gradients, model.parameters(), strict=True):
        np.testing.assert_allclose(gradient, parameter.grad, rtol=1e-4, atol=1e-4)


def test_a_recording_of_fused_layers_is_not_replayed_for_single_ones():
    model, x = pooled(), images().arrays[0]
    expected = by_hand(model, x).data
    step = md.compile(lambda x: model(x))
    for _ in range(3):
        step(x)
    md.config.fuse = False
    for _ in range(3):
        np.testing.assert_array_equal(step(x).data, expected)


# keep_features


def head_trained(epochs=3):
    """The weights of a head over a frozen body, and how many images that saw."""
    md.manual_seed(5)
    model = models.resnet20(num_classes=4)
    model.features.freeze()
    counting = Counting(model.features[0])
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.05))
    trainer.fit(data.DataLoader(images(), 4, True, seed=3), epochs, progress=False)
    return model.classifier.state_dict(), counting.images


def test_keep_features():
    kept, few = head_trained()
    md.config.keep_features = False
    plain, many = head_trained()
    assert (many, few < many) == (3 * 12, True)
    for name, array in plain.items():
        np.testing.assert_allclose(kept[name], array, atol=1e-5, err_msg=name)


# capture


def test_capture():
    """The same bits, from steps that are recorded or not."""
    states, recorded = [], []
    for md.config.capture in (True, False):
        md.manual_seed(0)
        model = models.lenet5(num_classes=4)
        trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.05))
        trainer.fit(data.DataLoader(images(channels=1), 4, True, seed=3), 2, progress=False)
        states.append({name: a.tobytes() for name, a in model.state_dict().items()})
        recorded.append(len(trainer._gradients._programs))
    assert states[0] == states[1]
    assert recorded == [1, 0]


# The page


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def test_all_settings_are_told(page):
    settings = [name for name, p in vars(type(md.config)).items() if isinstance(p, property)]
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.M)) == sorted(settings)


def test_the_defaults_are_those_told(page):
    for name, default in re.findall(r"^\| `(\w+)` \| `\"?(\w+)\"?` \|", page, re.M):
        assert str(getattr(md.config, name)) == default, name


def test_its_code_runs(page):
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    exec(compile(block, "settings.md", "exec"), {})
    assert md.config.fuse is False
