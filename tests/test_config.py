"""Settings of the process and the source of random numbers."""

import copy
import ctypes
import json
import os

import numpy as np
import pytest

import minidl as md
from minidl import random
from minidl.errors import ArgumentError, DTypeError, MinidlError, StateError


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blas_threads():
    """What NumPy's own OpenBLAS uses; None with another BLAS."""
    try:
        core = ctypes.CDLL(np._core._multiarray_umath.__file__)
        return core.scipy_openblas_get_num_threads64_()
    except (AttributeError, OSError):
        return None


# Threads


def test_threads_start_at_the_cores_this_process_may_use():
    assert md.config.num_threads == cores()


@pytest.mark.parametrize("kind", [int, np.int64])
def test_set_num_threads_governs_kernels_and_blas(kind):
    for n in (1, cores()):
        md.set_num_threads(kind(n))
        assert md.config.num_threads == n
        assert blas_threads() in (n, None)


@pytest.mark.parametrize("n", [0, -1, cores() + 1, 10**9, 1.0, True, "2", None])
def test_numbers_of_threads_out_of_bounds(n):
    before = md.config.num_threads
    with pytest.raises(
        ArgumentError,
        match=rf"set_num_threads expected a whole number from 1 to {cores()} .*, got {n!r}",
    ):
        md.set_num_threads(n)
    assert md.config.num_threads == before


# Kernels and dtype


def test_kernels_are_fast_or_reference():
    assert md.config.kernels == "fast"
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 3))
    results = []
    for choice, package in (("fast", "minidl.kernels"), ("reference", "minidl.reference")):
        md.config.kernels = choice
        assert md.config.kernels == choice
        assert md.kernels.use("pool").__name__ == f"{package}.pool"
        results.append(md.ops.avg_pool2d(x, 2))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


@pytest.mark.parametrize("choice", ["Fast", "", "numba", None, 1, ["fast"]])
def test_unknown_kernels(choice):
    with pytest.raises(ArgumentError, match=r"kernels must be one of \('fast', 'reference'\), got"):
        md.config.kernels = choice
    assert md.config.kernels == "fast"


@pytest.mark.parametrize("dtype", [np.float64, "float64", float, "float", np.dtype(np.float64)])
def test_default_dtype_is_what_python_floats_and_new_parameters_become(dtype):
    assert md.tensor(1.5).dtype == np.float32
    md.config.default_dtype = dtype
    assert md.config.default_dtype == np.float64
    assert md.tensor(1.5).dtype == np.float64
    assert {p.dtype for p in md.nn.Linear(2, 2).parameters()} == {np.dtype(np.float64)}


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        (np.int32, "int32"),
        (np.float16, "float16"),
        (">f4", ">f4"),
        (bool, "bool"),
        (None, "None"),  # NumPy takes it for float64
        ("nonsense", "'nonsense'"),
        (32, "32"),
    ],
)
def test_other_default_dtypes(dtype, found):
    with pytest.raises(DTypeError, match=f"must be float32 or float64, got {found}"):
        md.config.default_dtype = dtype
    assert md.config.default_dtype == np.float32


def test_unknown_settings_are_refused():
    with pytest.raises(AttributeError, match="kernel"):
        md.config.kernel = "fast"
    with pytest.raises(AttributeError, match="num_threads"):
        md.config.num_threads = 1  # set_num_threads tells BLAS too


SWITCHES = ["capture", "fuse", "keep_features"]


@pytest.mark.parametrize("name", SWITCHES)
def test_switches_are_on_and_take_true_or_false(name):
    assert getattr(md.config, name) is True
    for wrong in (0, None, "no", np.bool_(False)):
        with pytest.raises(ArgumentError, match=rf"config\.{name} must be True or False, got"):
            setattr(md.config, name, wrong)
    setattr(md.config, name, False)
    assert getattr(md.config, name) is False


def test_repr_shows_all_settings():
    md.set_num_threads(1)
    md.config.kernels = "reference"
    shown = (
        "config(default_dtype=float32, kernels='reference', convolution='auto', capture=True, "
        "fuse=True, keep_features=True, num_threads=1)"
    )
    assert repr(md.config) == shown


# Random numbers


@pytest.mark.parametrize("seed", [0, 7, 2**130, np.int64(7), np.uint8(3)])
def test_a_seed_decides_every_draw(seed):
    draws = []
    for _ in range(2):
        md.manual_seed(seed)
        draws.append(random.generator().standard_normal(5))
    np.testing.assert_array_equal(*draws)
    expected = np.random.Generator(np.random.PCG64(int(seed))).standard_normal(5)
    np.testing.assert_array_equal(draws[0], expected)


def test_another_seed_gives_other_draws():
    draws = set()
    for seed in range(20):
        md.manual_seed(seed)
        draws.add(random.generator().random())
    assert len(draws) == 20


@pytest.mark.parametrize("seed", [-1, 1.0, True, "1", None, np.float64(3), [1]])
def test_bad_seeds(seed):
    md.manual_seed(5)
    before = random.get_state()
    with pytest.raises(ArgumentError, match="manual_seed: n must be a whole number from 0 up, got"):
        md.manual_seed(seed)
    assert random.get_state() == before


def draw():
    """A draw of each kind: the state holds half a number after the 32-bit ones."""
    source = random.generator()
    return np.concatenate(
        [
            source.standard_normal(3),
            source.integers(0, 100, 3, dtype=np.uint32),
            source.random(3, dtype=np.float32),
            source.permutation(5),
        ]
    )


@pytest.mark.parametrize("through_json", [False, True])
@pytest.mark.parametrize("draws_before", [0, 1, 3])
def test_set_state_goes_on_to_the_bit(draws_before, through_json):
    md.manual_seed(3)
    for _ in range(draws_before):
        draw()
    state = random.get_state()
    if through_json:
        state = json.loads(json.dumps(state))
    expected = [draw() for _ in range(3)]
    assert random.get_state() != state
    for restart in (lambda: None, lambda: md.manual_seed(8)):
        restart()
        random.set_state(state)
        assert random.get_state() == state
        np.testing.assert_array_equal([draw() for _ in range(3)], expected)


def test_a_state_is_a_copy():
    state = random.get_state()
    state["state"]["state"] += 1
    assert random.get_state() != state


def test_dropout_and_new_weights_draw_from_it():
    md.manual_seed(1)
    state = random.get_state()
    results = []
    for _ in range(2):
        random.set_state(state)
        x = np.ones((4, 6), np.float32)
        results.append(md.nn.Dropout(0.5)(md.nn.Linear(6, 6)(x)).data)
    np.testing.assert_array_equal(*results)


def changed(path, value):
    """A change of one entry of a state; `path` names it from the top."""

    def change(state):
        *parents, last = path
        for name in parents:
            state = state[name]
        state[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed(["bit_generator"], "MT19937"),
        changed(["state"], None),
        changed(["state"], {}),
        changed(["state", "state"], "x"),
        changed(["state", "state"], -1),
        changed(["state", "inc"], 2**200),
        changed(["has_uint32"], 2**70),
        changed(["uinteger"], -1),
        lambda state: state.pop("uinteger"),
        lambda state: state.clear(),
    ],
)
def test_what_is_no_state_is_refused_whole(change):
    md.manual_seed(4)
    before = random.get_state()
    state = copy.deepcopy(before)
    state["state"]["state"] += 1  # what must not be taken over from a bad state
    change(state)
    with pytest.raises(StateError, match="set_state expected a state from get_state, got"):
        random.set_state(state)
    assert random.get_state() == before


@pytest.mark.parametrize("state", [None, 3, "state", [1, 2]])
def test_what_is_no_dict(state):
    with pytest.raises(StateError, match="expected a state from get_state") as caught:
        random.set_state(state)
    assert isinstance(caught.value, MinidlError)
