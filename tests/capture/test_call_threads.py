"""Calls of captured functions from many threads, and in a forked child."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from steps import MODEL, Training, batches, some

import minidl as md


def test_many_threads_at_once():
    """Of one captured function, and of several that share a model, recorded meanwhile."""
    eager = [lambda x, k=k: MODEL(x) * k for k in (1.0, 2.0, 3.0)]
    functions = [md.compile(function) for function in eager]
    inputs = [some(n, 3, seed=n) for n in range(12)]
    expected = [[function(x).data for x in inputs] for function in eager]
    start = threading.Barrier(6)

    def work(number):
        start.wait()
        for n in range(40):
            k, rows = (n + number) % 3, n % 12
            np.testing.assert_array_equal(functions[k](inputs[rows]).data, expected[k][rows])

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work, number) for number in range(6)]:
            done.result()


def test_models_that_train_in_two_threads():
    def run(training, capture):
        step = md.compile(training.step) if capture else training.step
        losses = [step(x, labels)[0].data for x, labels in batches("lenet5", 8)]
        return [*losses, *training.model.state_dict().values()]

    trainings = [Training("lenet5", clip=None) for _ in range(3)]
    expected = run(trainings[0], False)
    with ThreadPoolExecutor(2) as pool:
        for found in [pool.submit(run, training, True) for training in trainings[1:]]:
            for a, b in zip(found.result(), expected, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_goes_on():
    training, other = Training("lenet5"), Training("lenet5")
    step, data = md.compile(training.step), list(batches("lenet5", 6))
    for x, labels in data[:3]:
        step(x, labels)
        other.step(x, labels)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for x, labels in data[3:]:
                a, b = step(x, labels)[0].data, other.step(x, labels)[0].data
                assert np.array_equal(a, b)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
