"""Optimizers, schedules, clipping and averages beside PyTorch's own, over a grid of settings."""

import itertools
import math
import warnings

import numpy as np
import pytest
from optimizers import OPTIMIZERS, title

from minidl import optim
from minidl.autograd import Tensor

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install minidl[oracle]")

SHAPES = ((5, 3), (7,), ())
STEPS = 20
# Values of settings, whatever the optimizer; of those that aren't here its samples alone.
VALUES = {
    "lr": (0.01, 0.3),
    "betas": ((0.9, 0.999), (0.5, 0.9), (0.0, 0.99), (0.0, 0.0)),
    "eps": (1e-8, 1e-2),
    "momentum": (0.0, 0.5, 0.95),
    "rho": (0.9, 0.5, 0.0, 1.0),
    "alpha": (0.99, 0.5),
    "momentum_decay": (4e-3, 0.2),
    "weight_decay": (0.0, 0.05),
}
THEIRS = [each for each in OPTIMIZERS if hasattr(torch.optim, each.__name__)]


def grid():
    for kind in THEIRS:
        names = [name for name in kind.settings if name in VALUES]
        flags = [name for name, rule in kind.settings.items() if rule.convert(True) is True]
        choices = [VALUES[name] for name in names] + [(False, True) for _ in flags]
        for values in itertools.product(*choices):
            settings = dict(zip([*names, *flags], values, strict=True))
            if not (settings.get("nesterov") and settings["momentum"] == 0):
                yield kind, settings
        yield from ((kind, settings) for settings in kind.samples)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """A dtype that is also PyTorch's default: its NAdam keeps a product in that."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, request.param))
    yield request.param
    torch.set_default_dtype(before)


def both(dtype, seed=0):
    """The same parameters twice, and their gradients at each step (now and then None)."""
    rng = np.random.default_rng(seed)
    start = [rng.normal(size=s).astype(dtype) for s in SHAPES]
    ours = [Tensor(np.array(a), True) for a in start]
    theirs = [torch.nn.Parameter(torch.tensor(a)) for a in start]
    gradients = [
        [
            None
            if rng.random() < 0.1
            else np.asarray(rng.normal(size=s) * 10 ** rng.uniform(-4, 2, size=s), dtype)
            for s in SHAPES
        ]
        for _ in range(STEPS)
    ]
    return ours, theirs, gradients


def step(optimizers, ours, theirs, gradients):
    for p, q, g in zip(ours, theirs, gradients, strict=True):
        p.grad = g
        q.grad = None if g is None else torch.tensor(g)
    for optimizer in optimizers:
        optimizer.step()


def assert_close(ours, theirs, dtype):
    for p, q in zip(ours, theirs, strict=True):
        wanted = q.detach().numpy()
        assert p.data.dtype == wanted.dtype
        close = {"rtol": 1e-12, "atol": 1e-14} if dtype == "float64" else {"rtol": 1e-5}
        if dtype == "float32":
            close["atol"] = 1e-5 * float(np.max(np.abs(wanted)))
        np.testing.assert_allclose(p.data, wanted, **close)


@pytest.mark.parametrize(("kind", "settings"), list(grid()), ids=title)
def test_optimizer(kind, settings, dtype):
    ours, theirs, gradients = both(dtype)
    make = getattr(torch.optim, kind.__name__)
    pair = kind(ours, **settings), make(theirs, **settings, foreach=False)
    for given in gradients:
        step(pair, ours, theirs, given)
        assert_close(ours, theirs, dtype)


@pytest.mark.parametrize("kind", THEIRS, ids=title)
def test_groups_and_a_schedule(kind, dtype):
    """Each group with its own lr and weight decay, under a schedule, one added on the way."""
    ours, theirs, gradients = both(dtype, seed=1)
    make = getattr(torch.optim, kind.__name__)

    def split(p):
        return [{"params": p[:1], "lr": 0.05}, {"params": p[1:2], "weight_decay": 0.1}]

    pair = kind(split(ours), lr=0.01), make(split(theirs), lr=0.01, foreach=False)
    schedules = (
        optim.lr_scheduler.CosineAnnealingLR(pair[0], STEPS),
        torch.optim.lr_scheduler.CosineAnnealingLR(pair[1], STEPS),
    )
    for k, given in enumerate(gradients):
        step(pair, ours, theirs, given)
        for schedule in schedules:
            schedule.step()
        if k == STEPS // 2:
            break
    for optimizer, params in zip(pair, (ours, theirs), strict=True):
        optimizer.add_param_group({"params": params[2:], "lr": 0.02})
    for given in gradients[STEPS // 2 :]:
        step(pair, ours, theirs, given)
        assert_close(ours, theirs, dtype)


def groups(params):
    return [{"params": [p], "lr": lr} for p, lr in zip(params, (0.1, 0.03), strict=True)]


def rates(optimizer, scheduler, metrics=None, epochs=60):
    found = []
    for epoch in range(epochs):
        found.append([g["lr"] for g in optimizer.param_groups])
        optimizer.step()
        scheduler.step(*([] if metrics is None else [metrics[epoch]]))
    return np.array(found)


def optimizers():
    return (
        optim.SGD(groups([Tensor(np.zeros(1), True) for _ in range(2)])),
        torch.optim.SGD(groups([torch.nn.Parameter(torch.zeros(1)) for _ in range(2)])),
    )


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *(("StepLR", {"step_size": n, "gamma": g}) for n in (1, 4, 50) for g in (0.1, 0.9, 1.1)),
        *(("MultiStepLR", {"milestones": m}) for m in ([1], [5, 6, 40], [30, 7, 7])),
        *(("ExponentialLR", {"gamma": g}) for g in (0.5, 0.99, 1.01)),
        *(("CosineAnnealingLR", {"T_max": n, "eta_min": e}) for n in (1, 7, 60) for e in (0, 0.01)),
        *(("PolynomialLR", {"total_iters": n, "power": p}) for n in (1, 30) for p in (0.5, 1, 2)),
        *(
            ("CosineAnnealingWarmRestarts", {"T_0": n, "T_mult": m, "eta_min": e})
            for n in (1, 2, 13)
            for m in (1, 2, 3)
            for e in (0, 0.01)
        ),
        ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch}),
        ("LambdaLR", {"lr_lambda": [lambda epoch: 0.5 + epoch, lambda epoch: epoch // 3]}),
    ],
)
def test_schedule(name, settings):
    ours, theirs = optimizers()
    found = rates(ours, getattr(optim.lr_scheduler, name)(ours, **settings))
    wanted = rates(theirs, getattr(torch.optim.lr_scheduler, name)(theirs, **settings))
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("start", [0.1, 0.3, 0.45])
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_one_cycle(kind, start, three_phase, strategy):
    """Rates, and momenta."""
    settings = {"pct_start": start, "three_phase": three_phase, "anneal_strategy": strategy}
    found = []
    for package, params in (
        (optim, [Tensor(np.zeros(1), True) for _ in range(2)]),
        (torch.optim, [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]),
    ):
        optimizer = getattr(package, kind)(groups(params), lr=0.1)
        schedule = package.lr_scheduler.OneCycleLR(optimizer, [0.5, 0.1], 60, **settings)
        rows = []
        for _ in range(60):  # the last step's rate trains nothing
            rows += [(g["lr"], g["momentum"] if kind == "SGD" else g["betas"][0])
                     for g in optimizer.param_groups]  # fmt: skip
            optimizer.step()
            schedule.step()
        found.append(rows)
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-15)


def test_a_sequence():
    found = []
    for package, optimizer in zip((optim, torch.optim), optimizers(), strict=True):
        of = package.lr_scheduler
        parts = [of.ExponentialLR(optimizer, 0.9), of.CosineAnnealingLR(optimizer, 20)]
        parts.append(of.StepLR(optimizer, 5))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own library advises against what it does
            found.append(rates(optimizer, of.SequentialLR(optimizer, parts, [7, 31])))
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-15)


PLATEAU = {
    "mode": ("min", "max"),
    "factor": (0.1, 0.9),
    "patience": (0, 3),
    "threshold": (1e-4, 0.2),
    "threshold_mode": ("rel", "abs"),
    "cooldown": (0, 2),
    "min_lr": (0.0, 0.02),
    "eps": (1e-8, 0.01),
}


@pytest.mark.parametrize("seed", range(3))
def test_plateau(seed):
    """Of metrics above 0: below, PyTorch takes what is worse by less than the threshold for better,
    and minidl doesn't."""
    walk = np.random.default_rng(seed).normal(size=60).cumsum() / 3
    metrics = np.round(walk - walk.min() + 0.1, 1)
    metrics[10] = math.nan
    different = set()
    for values in itertools.product(*PLATEAU.values()):
        settings = dict(zip(PLATEAU, values, strict=True))
        ours, theirs = optimizers()
        mine = optim.lr_scheduler.ReduceLROnPlateau(ours, **settings)
        torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **settings)
        found = rates(ours, mine, metrics)
        np.testing.assert_array_equal(found, rates(theirs, torchs, metrics), err_msg=str(settings))
        different.add(found.tobytes())
    assert len(different) > 20


@pytest.mark.parametrize("steps", [1, 5, 20])
@pytest.mark.parametrize("start", [0.001, 0.1, 1.0])
def test_warmup(steps, start):
    ours, theirs = optimizers()
    schedules = torch.optim.lr_scheduler
    after = optim.lr_scheduler.StepLR(ours, 7)
    found = rates(ours, optim.lr_scheduler.LinearWarmup(ours, steps, start, after=after))
    rise = schedules.LinearLR(theirs, start, total_iters=steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR does what its own library advises against
        both = schedules.SequentialLR(theirs, [rise, schedules.StepLR(theirs, 7)], [steps])
        wanted = rates(theirs, both)
    np.testing.assert_allclose(found, wanted, rtol=1e-11)


@pytest.mark.parametrize("norm_type", [1.0, 1.5, 2.0, 4.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.01, 1.0, 1e4])
def test_clipping(norm_type, max_norm, dtype):
    ours, theirs, gradients = both(dtype)
    close = {"rtol": 1e-5 if dtype == "float32" else 1e-12}
    gradients = [given for given in gradients if any(g is not None for g in given)]
    for given in gradients:  # PyTorch's clip_grad_value_ fails where there is none at all
        step((), ours, theirs, [None if g is None else g.copy() for g in given])
        total = optim.clip_grad_norm(ours, max_norm, norm_type)
        wanted = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
        np.testing.assert_allclose(total, wanted.item(), **close)
        for p, q in zip(ours, theirs, strict=True):
            if p.grad is not None:
                np.testing.assert_allclose(p.grad, q.grad.numpy(), **close)
        optim.clip_grad_value(ours, 0.01)
        torch.nn.utils.clip_grad_value_(theirs, 0.01)
        for p, q in zip(ours, theirs, strict=True):
            if p.grad is not None:
                np.testing.assert_allclose(p.grad, q.grad.numpy(), **close)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_averages(decay, dtype):
    """A batch normalisation's buffers are copied, its parameters averaged.

    PyTorch's average counts where it started, with decay^t after t updates; ours doesn't.
    """
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    swa = torch.optim.swa_utils
    model = swa.AveragedModel(net, multi_avg_fn=swa.get_ema_multi_avg_fn(decay))
    model.update_parameters(net)  # the first update copies: from here it is an average

    class Mirror:
        """The same net as minidl's EMA sees it; the tensors share torch's memory."""

        def __init__(self):
            self.named = [(n, Tensor(p.detach().numpy(), True)) for n, p in net.named_parameters()]

        def parameters(self):
            return [p for _, p in self.named_parameters()]

        def named_parameters(self):
            return self.named

        def named_buffers(self):
            return [(n, Tensor(b.numpy())) for n, b in net.named_buffers()]

    start = {n: p.detach().numpy().copy() for n, p in net.named_parameters()}
    ema = optim.EMA(Mirror(), decay)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(10):
        optimizer.zero_grad()
        net(torch.randn(8, 3)).pow(3).sum().backward()
        optimizer.step()
        model.update_parameters(net)
        ema.update()
    wanted = dict(model.module.named_parameters())
    found = ema.state_dict()["averages"]
    close = {"rtol": 1e-3, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-12}
    for name, p in wanted.items():
        expected = (p.detach().numpy() - decay**10 * start[name]) / (1 - decay**10)
        np.testing.assert_allclose(found[name], expected, **close)
    for name, b in net.named_buffers():
        np.testing.assert_array_equal(found[name], b.numpy())
