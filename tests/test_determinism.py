"""The same seed gives the same bits, whatever the number of threads."""

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kernel_cases import KERNELS, digest, run_kernel

import minidl as md
from minidl import kernels, models, nn, optim, reference


def eager(step):
    return step


def train_lenet(seed=0, steps=4, how=eager):
    """LeNet-5 with dropout in it, trained for some steps: weights, momenta and the losses.

    how: makes of the step what is called: `md.compile`, for one.
    """
    md.manual_seed(seed)
    whole = models.lenet5()
    model = nn.Sequential(whole.features, nn.Dropout(0.3), whole.classifier)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    @how
    def step(x, labels):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    losses = []
    for number in range(steps):
        random = np.random.default_rng(number)
        x = random.standard_normal((96, 32, 32, 1)).astype(np.float32)
        losses.append(step(x, random.integers(0, 10, 96)).data)
    momenta = [state["momentum_buffer"] for state in optimizer.state_dict()["state"].values()]
    return digest([*model.state_dict().values(), *momenta, *losses])


def train_with_batch_norm(how=eager):
    """Normalisation, depthwise, grouped and strided convolutions, both pools, upsampling."""
    md.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, padding="same", groups=2, bias=False),
        nn.BatchNorm2d(8, activation="relu"),
        nn.DepthwiseConv2d(8, 3, padding=1, multiplier=2),
        nn.MaxPool2d(3, 2, padding=1),
        nn.ConvTranspose2d(16, 8, 2, stride=2),
        nn.LocalResponseNorm(3),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.AvgPool2d(3, 2),
        nn.GlobalAvgPool2d(),
        nn.LayerNorm(8),
        nn.Linear(8, 5),
    )
    optimizer = optim.Adam(model.parameters())

    @how
    def step(x, labels):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    random = np.random.default_rng(0)
    for _ in range(3):
        x = random.standard_normal((16, 32, 32, 4)).astype(np.float32)
        step(x, random.integers(0, 5, 16))
    return digest([*model.state_dict().values(), *(p.grad for p in model.parameters())])


def all_digests():
    """Of everything above, by name: what a process with other threads must find too."""
    found = {" ".join(map(str, case)): run_kernel(*case) for case in KERNELS}
    found |= {"lenet": train_lenet(), "batch norm": train_with_batch_norm()}
    assert train_lenet(how=md.compile) == found["lenet"]
    assert train_with_batch_norm(how=md.compile) == found["batch norm"]
    return found


@pytest.fixture
def with_threads():
    """Call a function once for each number of threads: one, two, and all that there are."""
    most = md.config.num_threads

    def call(function):
        results = []
        for n in sorted({1, min(2, most), most}):
            md.set_num_threads(n)
            results += [function() for _ in range(1 if n == 1 else 3)]  # a race may win once
        return results

    yield call
    md.set_num_threads(most)


def test_every_kernel_has_a_case():
    public = set()
    twins = {module.name for module in pkgutil.iter_modules(reference.__path__)} | {
        "direct",
        "grouped",
    }
    for module in pkgutil.iter_modules(kernels.__path__):
        if module.name in twins and not module.name.startswith("_"):
            family = importlib.import_module(f"minidl.kernels.{module.name}")
            public |= {
                (module.name, name)
                for name, value in vars(family).items()
                if inspect.isfunction(value)
                and value.__module__ == family.__name__
                and not name.startswith("_")
            }
    assert {(family, name) for family, _, name in KERNELS} == public


@pytest.mark.parametrize(("family", "number", "name"), KERNELS)
def test_kernels_give_the_same_bits_on_any_number_of_threads(family, number, name, with_threads):
    assert len(set(with_threads(lambda: run_kernel(family, number, name)))) == 1


@pytest.mark.parametrize("train", [train_lenet, train_with_batch_norm])
def test_training_gives_the_same_bits_on_any_number_of_threads(train, with_threads):
    results = with_threads(train) + with_threads(lambda: train(how=md.compile))
    assert len(set(results)) == 1


def test_a_seed_decides_training():
    assert train_lenet(seed=3, steps=2) == train_lenet(seed=3, steps=2)
    assert train_lenet(seed=3, steps=2) != train_lenet(seed=4, steps=2)


OTHER_PROCESS = """
import json, sys
import minidl as md
threads = int(sys.argv[1])
sys.modules["minidl.config"]._cores = lambda: threads  # whatever there are
md.set_num_threads(threads)
import test_determinism
print(json.dumps(test_determinism.all_digests()))
"""


def test_fresh_processes_with_one_thread_and_with_four_find_the_same_bits():
    paths = [str(Path(__file__).parent), str(Path(md.__file__).parents[1])]
    settings = {"PYTHONPATH": os.pathsep.join(paths)}
    expected = all_digests()
    for threads in ("1", "4"):
        done = subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, threads], env=os.environ | settings,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == expected
