"""Record what PyTorch's optimizers, schedules, clipping and averages do, as an oracle for tests.

    python tests/optim/record_trajectories.py

writes trajectories.npz beside this file. It needs the extra `oracle`; the tests that read the file
need NumPy alone. "meta" in it is JSON that says what each recording is of. An optimizer that
PyTorch hasn't is recorded from its paper's algorithm, written out in written_out.py.
"""

import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import written_out

sys.path.append(str(Path(__file__).parent.parent))
import schedulers
from optimizers import SAMPLES

TARGET = Path(__file__).with_name("trajectories.npz")
STEPS = 20
SHAPES = [(2, 3), (4,), ()]

TWO_GROUPS = [
    {"params": [0, 2], "lr": 0.03, "weight_decay": 0.02},
    {"params": [1]},
]

FROZEN = [0, 1, 9]  # steps at which parameter 1 is

BASES = [0.1, 0.03]
EPOCHS = 30
CLIPS = [(1.0, 2.0), (0.5, 1.0), (2.0, 3.0), (0.3, math.inf), (1e6, 2.0)]
DECAYS = [0.5, 0.99]


def optimizer_cases():
    """Each sample, plain and in groups: (class, settings, groups, steps without a gradient)."""
    for kind, settings in SAMPLES:
        yield kind.__name__, settings, None, []
        yield kind.__name__, settings, TWO_GROUPS, FROZEN


def optimize(case, dtype, start, gradients):
    """What becomes of each parameter in STEPS steps; None where nobody knows it in that dtype."""
    name, settings, groups, frozen = case
    if hasattr(torch.optim, name):
        return optimize_in_torch(case, dtype, start, gradients)
    if dtype == torch.float32:
        return None
    of = {i: {**settings} for i in range(len(start))}
    for group in groups or []:
        for i in group["params"]:
            of[i] |= {name: value for name, value in group.items() if name != "params"}
    return [
        written_out.path(name, start[i], gradients[i], of[i], frozen if i == 1 else [])
        for i in range(len(start))
    ]


def optimize_in_torch(case, dtype, start, gradients):
    name, settings, groups, frozen = case
    # NAdam keeps a product in the default dtype.
    torch.set_default_dtype(dtype)
    params = [torch.nn.Parameter(torch.tensor(a, dtype=dtype)) for a in start]
    chosen = [{**g, "params": [params[i] for i in g["params"]]} for g in groups or []] or params
    optimizer = getattr(torch.optim, name)(chosen, **settings, foreach=False)
    paths = [[] for _ in params]
    for step in range(STEPS):
        for i, p in enumerate(params):
            skipped = i == 1 and step in frozen
            p.grad = None if skipped else torch.tensor(gradients[i][step], dtype=dtype)
        optimizer.step()
        for p, path in zip(params, paths, strict=True):
            path.append(p.detach().numpy().copy())
    torch.set_default_dtype(torch.float32)
    return [np.stack(path) for path in paths]


def torch_scheduler(name, optimizer, settings):
    known = torch.optim.lr_scheduler
    settings = schedulers.with_parts(
        settings, lambda *part: torch_scheduler(part[0], optimizer, part[1])
    )
    if name != "LinearWarmup":
        return getattr(known, name)(optimizer, **settings)
    steps, start = settings["steps"], settings.get("start_factor", 0.1)
    rise = known.LinearLR(optimizer, start, total_iters=steps)
    if "after" not in settings:
        return rise
    return known.SequentialLR(optimizer, [rise, settings["after"]], milestones=[steps])


def schedule(name, settings, metrics):
    """The two groups' learning rates at epochs 0 to EPOCHS."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in BASES]
    optimizer = torch.optim.SGD(groups)
    scheduler = torch_scheduler(name, optimizer, settings)
    rates = [[g["lr"] for g in optimizer.param_groups]]
    for metric in metrics:
        optimizer.step()
        scheduler.step(*([metric] if name == "ReduceLROnPlateau" else []))
        rates.append([g["lr"] for g in optimizer.param_groups])
    return np.array(rates)


def clip(max_norm, norm_type, gradients):
    params = [torch.nn.Parameter(torch.zeros(g.shape[1:], dtype=torch.float64)) for g in gradients]
    for p, g in zip(params, gradients, strict=True):
        p.grad = torch.tensor(g[0])
    total = torch.nn.utils.clip_grad_norm_(params, max_norm, norm_type, foreach=False)
    return total.item(), [p.grad.numpy() for p in params]


def average(decay, path):
    """The averages of a parameter that moves along `path`, counted from its first place."""
    module = torch.nn.Module()
    module.p = torch.nn.Parameter(torch.tensor(path[0]))
    ema = torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
    model = torch.optim.swa_utils.AveragedModel(module, multi_avg_fn=ema)
    averages = []
    for place in path:  # the first update only copies
        module.p.data = torch.tensor(place)
        model.update_parameters(module)
        averages.append(model.module.p.detach().numpy().copy())
    return np.stack(averages)


def main():
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape) for shape in SHAPES]
    gradients = [
        rng.normal(size=(STEPS, *shape)) * 10 ** rng.uniform(-3, 1, size=(STEPS, *shape))
        for shape in SHAPES
    ]
    gradients[0][3:6, 0, 0] = 0
    metrics = np.round(1 / np.arange(1, EPOCHS + 1) + rng.normal(0, 0.05, EPOCHS), 2)
    arrays = {"metrics": metrics}
    for i in range(len(SHAPES)):
        arrays[f"start.{i}"], arrays[f"gradients.{i}"] = start[i], gradients[i]
    optimizers = list(optimizer_cases())
    for k, case in enumerate(optimizers):
        for dtype in (torch.float32, torch.float64):
            for i, path in enumerate(optimize(case, dtype, start, gradients) or []):
                arrays[f"optimizer.{k}.{str(dtype).removeprefix('torch.')}.{i}"] = path
    for k, (kind, settings) in enumerate(schedulers.SAMPLES):
        arrays[f"scheduler.{k}"] = schedule(kind.__name__, settings, metrics)
    totals = []
    for k, (max_norm, norm_type) in enumerate(CLIPS):
        total, clipped = clip(max_norm, norm_type, gradients)
        totals.append(total)
        arrays.update({f"clip.{k}.{i}": g for i, g in enumerate(clipped)})
    for k, decay in enumerate(DECAYS):
        arrays[f"ema.{k}"] = average(decay, gradients[0])
    meta = {
        "torch": torch.__version__,
        "optimizers": optimizers,
        "bases": BASES,
        "schedulers": [
            (kind.__name__, schedulers.told(settings)) for kind, settings in schedulers.SAMPLES
        ],
        "clips": [[*case, total] for case, total in zip(CLIPS, totals, strict=True)],
        "decays": DECAYS,
    }
    np.savez_compressed(TARGET, meta=np.array(json.dumps(meta)), **arrays)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
