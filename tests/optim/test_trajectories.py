"""Optimizers, schedules, clipping and averages against what record_trajectories.py recorded."""

import json
from pathlib import Path

import numpy as np
import pytest
import schedulers
from optimizers import OPTIMIZERS, SAMPLES, title

from minidl import optim
from minidl.autograd import Tensor

with np.load(Path(__file__).with_name("trajectories.npz")) as file:
    RECORDED = dict(file)
META = json.loads(str(RECORDED["meta"]))


def case(recorded):
    return " ".join(str(part) for part in recorded[:3] if part is not None)


COUNT = 3  # parameters, of shapes (2, 3), (4,) and ()


def test_every_optimizer_is_recorded():
    """With each of its samples; if this fails, record anew."""
    recorded = {(case[0], json.dumps(case[1])) for case in META["optimizers"]}
    assert recorded == {(each.__name__, json.dumps(settings)) for each, settings in SAMPLES}


def test_every_scheduler_is_recorded():
    """With each of its samples, in their order; if this fails, record anew."""
    assert META["schedulers"] == [
        [each.__name__, schedulers.told(settings)] for each, settings in schedulers.SAMPLES
    ]


@pytest.mark.parametrize("each", [*OPTIMIZERS, *schedulers.SCHEDULERS], ids=title)
def test_every_setting_has_a_sample(each):
    assert {name for settings in each.samples for name in settings} == set(each.settings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", range(len(META["optimizers"])), ids=map(case, META["optimizers"]))
def test_optimizer(k, dtype):
    name, settings, groups, frozen = META["optimizers"][k]
    params = [Tensor(RECORDED[f"start.{i}"].astype(dtype), True) for i in range(COUNT)]
    chosen = params
    if groups:
        chosen = [{**g, "params": [params[i] for i in g["params"]]} for g in groups]
    optimizer = getattr(optim, name)(chosen, **settings)
    known = dtype if f"optimizer.{k}.{dtype}.0" in RECORDED else "float64"
    paths = [RECORDED[f"optimizer.{k}.{known}.{i}"] for i in range(COUNT)]
    # In float32 a few roundings of numbers about 1 remain beside a number near 0.
    close = {"rtol": 1e-12, "atol": 1e-15} if dtype == "float64" else {"rtol": 1e-5, "atol": 1e-6}
    for step in range(len(paths[0])):
        for i, p in enumerate(params):
            g = RECORDED[f"gradients.{i}"][step, ...].astype(dtype)
            p.grad = None if i == 1 and step in frozen else g
        optimizer.step()
        for p, path in zip(params, paths, strict=True):
            assert p.data.dtype == dtype
            np.testing.assert_allclose(p.data, path[step, ...], **close, err_msg=f"step {step}")


@pytest.mark.parametrize("k", range(len(META["schedulers"])), ids=map(case, META["schedulers"]))
def test_scheduler(k):
    optimizer = schedulers.sgd(*META["bases"])
    scheduler = schedulers.build(*schedulers.SAMPLES[k], optimizer)
    rates = [scheduler.get_last_lr()]
    for metric in RECORDED["metrics"]:
        scheduler.step(*([metric] if scheduler.needs_metric else []))
        rates.append([group["lr"] for group in optimizer.param_groups])
        assert scheduler.get_last_lr() == rates[-1]
    assert scheduler.last_epoch == len(RECORDED["metrics"])
    np.testing.assert_allclose(rates, RECORDED[f"scheduler.{k}"], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("k", range(len(META["clips"])), ids=map(case, META["clips"]))
def test_clip_grad_norm(k):
    max_norm, norm_type, total = META["clips"][k]
    params = [Tensor(np.zeros(RECORDED[f"start.{i}"].shape), True) for i in range(COUNT)]
    for i, p in enumerate(params):
        p.grad = RECORDED[f"gradients.{i}"][0, ...].copy()
    found = optim.clip_grad_norm(params, max_norm, norm_type)
    assert type(found) is float
    assert found == pytest.approx(total, rel=1e-12)
    for i, p in enumerate(params):
        np.testing.assert_allclose(p.grad, RECORDED[f"clip.{k}.{i}"], rtol=1e-12)


@pytest.mark.parametrize("k", range(len(META["decays"])), ids=META["decays"])
def test_ema(k):
    """PyTorch's counts where it started, with decay^t after t updates; ours doesn't."""
    path = RECORDED["gradients.0"]  # a parameter that is moved along the recorded gradients
    p, decay = Tensor(path[0].copy(), True), META["decays"][k]
    ema = optim.EMA([p], decay)
    for t, (place, average) in enumerate(zip(path, RECORDED[f"ema.{k}"], strict=True)):
        if t:
            p.data[...] = place
            ema.update()
            found = ema.state_dict()["averages"]["0"]
            expected = (average - decay**t * path[0]) / (1 - decay**t)
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
