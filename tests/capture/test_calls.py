"""Calls of a captured function: what it takes and gives, from which thread, and its memory."""

import contextlib
import copy
import gc
import pickle
import signal
import typing
import weakref

import numpy as np
import pytest
from steps import MODEL, Training, assert_same, batches, is_captured, some, train

import minidl as md
from minidl import models, nn, ops
from minidl.autograd.modes import mode
from minidl.errors import ArgumentError
from minidl.kernels import memory


class Pair(typing.NamedTuple):
    first: typing.Any
    second: typing.Any


def arrays(results):
    return [y.data if isinstance(y, md.Tensor) else y for y in results]


# What it takes and gives


def test_nested_structures():
    def call(pair, more, *, scale=1.0):
        y = MODEL(pair.first) * scale + pair.second
        return {"y": [y, (y, y * 2)], "pair": Pair(more["x"][0] + y, None), "text": "as it is"}

    def positional(pair, more, scale=2.0):
        return call(pair, more, scale=scale)

    compiled = md.compile(positional)
    for seed in range(4):
        x, z = some(5, 3, seed=seed), some(5, 2, seed=seed)
        more = {"x": (md.from_numpy(z), 3)}
        found = compiled(Pair(x, z), more=more, scale=0.5)
        expected = call(Pair(x, z), more, scale=0.5)
        assert type(found["pair"]) is Pair
        assert found["pair"].second is None
        assert found["text"] == "as it is"
        for a, b in (
            (found["y"][0], expected["y"][0]), (found["y"][1][1], expected["y"][1][1]),
            (found["pair"].first, expected["pair"].first),
        ):  # fmt: skip
            np.testing.assert_array_equal(a.data, b.data)
    assert is_captured(compiled)
    with pytest.raises(ArgumentError, match="takes scale by name alone"):
        md.compile(call)(Pair(x, z), more, scale=0.5)
    with pytest.raises(TypeError, match="missing a required argument"):
        compiled(more=more)


def test_results_are_the_callers():
    """A tensor given twice, an argument, a view of one, a parameter: copies that nobody writes."""

    def call(x):
        y = ops.relu(md.from_numpy(x))
        return y, y, x, x[1:].T, MODEL[0].weight, y.data

    compiled = md.compile(call)
    kept, wanted = [], []
    for seed in range(4):
        x = some(4, 3, seed=seed)
        kept.append(arrays(compiled(x)))
        wanted.append([y.copy() for y in arrays(call(x))])
    for results, expected in zip(kept, wanted, strict=True):
        for y, array in zip(results, expected, strict=True):
            np.testing.assert_array_equal(y, array)
            assert y.base is None
            assert type(y) is np.ndarray
            y[...] = 7
    np.testing.assert_array_equal(compiled(x)[0].data, wanted[-1][0])
    assert not np.any(MODEL[0].weight.data == 7)


@pytest.mark.parametrize("size", [4, 300])
def test_arguments_of_all_kinds_of_memory(size):
    def read_only(x):
        x = x.copy()
        x.flags.writeable = False
        return x

    def unaligned(x):
        raw = np.zeros(x.nbytes + 1, np.uint8)[1:]
        raw[...] = x.reshape(-1).view(np.uint8)
        return raw.view(x.dtype).reshape(x.shape)

    kinds = [
        np.asfortranarray, lambda x: x, lambda x: np.repeat(x, 2, 0)[::2], read_only, unaligned,
        lambda x: x[::-1].copy()[::-1], lambda x: np.broadcast_to(x[:1], x.shape),
    ]  # fmt: skip
    for first in kinds:  # the recorded one
        compiled = md.compile(lambda x: MODEL(x))
        for seed, kind in enumerate([first, first, *kinds]):
            x = kind(some(size, 3, seed=seed))
            np.testing.assert_array_equal(compiled(x).data, MODEL(x).data)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7, 16, 17, 33])
def test_odd_sizes(rows):
    compiled = md.compile(lambda x, y: (MODEL(x), (ops.exp(md.from_numpy(y)) * 2).sum(axis=0)))
    for seed in range(3):
        x, y = some(rows, 3, seed=seed), some(rows, 5, seed=seed + 9)
        for a, b in zip(compiled(x, y), compiled._function(x, y), strict=True):
            np.testing.assert_array_equal(a.data, b.data)


def test_numbers_without_axes():
    compiled = md.compile(lambda x: md.from_numpy(x) * 3)
    for value in (1.0, 2.0, 3.0):
        y = compiled(np.array(value, np.float32))
        assert y.shape == ()
        assert y.data == 3 * value


def test_memory_that_is_used_again_within_a_call():
    """Arrays of more than 128 kB, which a recording hands out more than once."""

    def call(x):
        for scale in (1.0, 2.0, 3.0):
            x = ops.relu(x) * scale
            x = x + ops.tanh(x)
        return x, x.sum()

    def wrapped(x):
        with md.no_grad():
            return call(md.from_numpy(x))

    compiled = md.compile(wrapped)
    for seed in range(5):
        x = some(300, 200, seed=seed)
        others = [memory.empty((300, 200), np.float32) for _ in range(3)]
        for other in others:
            other[...] = np.nan  # whoever took memory of the recording's would see it
        for a, b in zip(compiled(x), wrapped(x), strict=True):
            np.testing.assert_array_equal(a.data, b.data)


def test_a_large_training_step():
    training, other = Training("lenet5"), Training("lenet5")
    random = np.random.default_rng(0)
    data = [
        (random.standard_normal((70, 32, 32, 1)).astype(np.float32), random.integers(0, 10, 70))
        for _ in range(4)
    ]
    expected = train(training, training.step, data)
    assert_same(train(other, md.compile(other.step), data), expected)


# Functions of functions


def test_within_another_captured_call_it_is_part_of_that():
    inner = md.compile(lambda x: MODEL(x) * 2)

    def outer(x):
        MODEL.zero_grad()
        total = inner(x).sum()
        total.backward()
        return total

    compiled = md.compile(outer)
    for seed in range(4):
        x = some(4, 3, seed=seed)
        inner(x)
        found = compiled(x).data, MODEL[0].weight.grad.copy()
        md.config.capture = False
        expected = outer(x).data, MODEL[0].weight.grad
        md.config.capture = True
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert is_captured(compiled)


def test_a_captured_function_that_calls_itself():
    def power(x, n):
        return MODEL[0](x) if n == 0 else compiled(x, n - 1) * 0.5

    compiled = md.compile(power)
    for seed in range(4):
        x = some(4, 3, seed=seed)
        np.testing.assert_array_equal(compiled(x, 2).data, MODEL[0](x).data * 0.5 * 0.5)


def test_as_a_method():
    class Net(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(3, 2)

        @md.compile
        def call(self, x):
            """What it says."""
            return self.layer(x)

    one, other = Net(), Net()
    for seed in range(4):
        x = some(4, 3, seed=seed)
        for net in (one, other):
            np.testing.assert_array_equal(net.call(x).data, net.layer(x).data)
    assert Net.call.__doc__ == "What it says."


def test_an_exception_of_the_function_is_its_own():
    def call(x, bad):
        if bad:
            raise KeyError("mine")
        return MODEL(x)

    compiled = md.compile(call)
    for _ in range(3):
        with pytest.raises(KeyError, match="mine"):
            compiled(some(2, 3), True)
        np.testing.assert_array_equal(compiled(some(2, 3), False).data, MODEL(some(2, 3)).data)


def test_a_function_that_takes_no_other_numbers():
    """The proof alters what was the same twice; where that raises, the call goes on as ever."""

    def call(x):
        y = md.from_numpy(x)
        ops.embedding(np.array([0, 1]), y)
        if here_is_recording():
            return MODEL(x)
        if not np.array_equal(x, some(4, 3)):
            raise ValueError("unheard-of numbers")
        return MODEL(x)

    compiled = md.compile(call)
    for _ in range(4):
        np.testing.assert_array_equal(compiled(some(4, 3)).data, MODEL(some(4, 3)).data)


def here_is_recording():
    from minidl.recording import here

    return here.recorder is not None


@md.compile
def known_by_name(x):
    return MODEL(x)


def test_copies_and_pickles():
    assert copy.deepcopy(known_by_name) is known_by_name
    assert pickle.loads(pickle.dumps(known_by_name)) is known_by_name
    training = Training("small")
    training.captured = md.compile(training.step)
    (x, labels), *_ = batches("small")
    for _ in range(2):
        training.captured(x, labels)
    other = copy.deepcopy(training)
    assert other.captured.__wrapped__.__self__ is other
    state = training.state()
    other.captured(x, labels)
    assert all(np.array_equal(state[name], array) for name, array in training.state().items())
    assert not np.array_equal(other.model[0].weight.data, training.model[0].weight.data)
    model = pickle.loads(pickle.dumps(md.compile(MODEL.eval())))
    np.testing.assert_allclose(model(some(2, 3)).data, MODEL(some(2, 3)).data, rtol=1e-6)
    MODEL.train()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a system with such timers")
# Python swallows an interrupt that comes while it removes what a weak reference was to.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_at_any_moment():
    """Weights are as they were, though proofs change them for a moment, and nothing is locked."""
    model = models.lenet5().eval()
    x, before, random = some(2, 32, 32, 1), model.state_dict(), np.random.default_rng(0)
    call = md.no_grad()(lambda x: model(x))
    expected = call(x).data
    for _ in range(2):
        md.compile(call)(x)  # whose kernels are loaded then

    calling = False

    def stop(*_):
        if calling:  # not when the call is over, in the lines around it
            raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, stop)
    try:
        for _ in range(60):
            compiled = md.compile(call)
            for _ in range(3):
                with contextlib.suppress(KeyboardInterrupt):
                    calling = True
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 0.02))
                    compiled(x)
                    calling = False
                calling = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            mode.recording = True  # an interrupt between the lines of `no_grad` may leave it off
            for name, array in model.state_dict().items():
                np.testing.assert_array_equal(array, before[name])
            np.testing.assert_array_equal(compiled(x).data, expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


# Memory


def test_memory_comes_back_with_the_captured_function():
    gc.collect()
    before = memory.statistics()["in_use"]
    model = models.lenet5()
    compiled = md.compile(lambda x: ops.tanh(ops.relu(model.features(x))))
    for seed in range(3):
        compiled(some(40, 32, 32, 1, seed=seed))
    (programs,) = compiled._programs.values()
    left = [weakref.ref(programs[0]), weakref.ref(programs[0]._pool)]
    assert programs[0]._pool.in_use > 0
    del compiled, programs
    gc.collect()
    assert [ref() for ref in left] == [None, None]
    assert memory.statistics()["in_use"] <= before


def test_the_oldest_of_many_kinds_of_calls_is_forgotten():
    compiled = md.compile(lambda x, k: MODEL(x) * k)
    x = some(4, 3)
    for _ in range(3):
        for k in range(20):
            np.testing.assert_array_equal(compiled(x, float(k)).data, (MODEL(x) * float(k)).data)
    assert repr(compiled).endswith("16 kinds of calls recorded>")


def test_what_compile_takes():
    with pytest.raises(ArgumentError, match="expected a function or a model, got 3"):
        md.compile(3)
