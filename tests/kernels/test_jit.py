"""Launching kernels: parts, arguments, threads."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from little_kernels import alone, count, do_meet, double, gather, line_up, new, room_for, wide

import minidl as md
from minidl.kernels import _entry, _jit, _launch, _pool
from minidl.kernels._jit import kernel, sized

# Parts


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("parts", [0, 1, 2, 7, 1000, -1, -2, -1000])
def test_each_part_runs_once(parts, threads):
    md.set_num_threads(min(threads, md.config.num_threads))
    counts = np.zeros(1001, np.int64)
    for launch in range(1, 4):
        count(parts, counts)
        np.testing.assert_array_equal(counts, np.where(np.arange(1001) < abs(parts), launch, 0))


def test_parts_below_zero_run_in_their_order_in_this_thread():
    for launch, sign in ((line_up, -1), (alone, 1)):
        seen, place = np.zeros(1000, np.int64), np.zeros(1, np.int64)
        launch(1000 * sign, seen, place)
        np.testing.assert_array_equal(seen, np.arange(1000))


def test_little_work_is_done_right_here():
    assert sized(7, _jit.LITTLE + 1) == 7
    assert sized(7, _jit.LITTLE) == -7


# Arguments


def test_arguments_of_all_kinds():
    x = np.arange(4.0).reshape(2, 2)
    for number in (3, -1, 2**62, np.int32(5), np.uint8(7)):
        for other in (0.5, -1e300, np.float32(0.25), float("inf")):
            for flag in (True, False, np.True_):
                for shape in ((1, -2), (np.int64(3), 2**40)):
                    found = np.zeros(6)
                    gather(1, found, number, other, flag, shape, x)
                    expected = [number, other, flag, *shape, 1.0]
                    np.testing.assert_array_equal(found, np.array(expected, np.float64))


class Ours(np.ndarray):
    """A subclass, as np.memmap is."""


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda x: np.ones((2, 8))[:, ::2], r"double expected C-contiguous .* strides \(64, 16\)"),
        (lambda x: np.asfortranarray(np.ones((3, 2))), "double expected C-contiguous arrays"),
        (lambda x: x.astype(">f8"), "double expected C-contiguous arrays, got >f8"),
    ],
)
def test_arrays_that_kernels_do_not_take(change, error):
    for x in (np.ones(4), np.ones((2, 2))):
        double(1, x)  # what came before doesn't matter
        odd = change(x)
        before = odd.copy()
        with pytest.raises(TypeError, match=error):
            double(1, odd)
        np.testing.assert_array_equal(odd, before)


def test_one_kernel_for_arrays_of_many_kinds_in_turn():
    kinds = [np.float32, np.float64, np.int32, np.int64, np.uint8]
    for turn in range(3):
        for kind in kinds:
            for shape in ((5,), (2, 3), (1, 1, 4), (0,)):
                x = np.full(shape, 3 + turn, kind)
                double(1, x)
                np.testing.assert_array_equal(x, np.full(shape, 6 + 2 * turn, kind))
                double(1, x.view(Ours))
                np.testing.assert_array_equal(x, np.full(shape, 12 + 4 * turn, kind))


def test_threads_that_switch_one_kernels_kinds():
    """Each of them makes the others take the slow way again."""
    kinds, interval = [np.float32, np.float64, np.int32, np.int64], sys.getswitchinterval()

    def work(number):
        for turn in range(400):
            kind, size = kinds[(turn + number) % 4], (turn + number) % 7 + 1
            x = np.full((size, 2) if turn % 3 else size, 3, kind)
            double(1, x)
            assert np.all(x == 6)

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as pool:
            for done in [pool.submit(work, number) for number in range(6)]:
                done.result()
    finally:
        sys.setswitchinterval(interval)


def test_too_many_arguments():
    many = kernel(eval("lambda " + ", ".join(f"x{i}" for i in range(32)) + ": None"))
    with pytest.raises(TypeError, match="more than 30 arguments"):
        many(1, *range(31))
    with pytest.raises(TypeError, match="more than 253 words of arguments"):
        wide(1, (0,) * 254)


def test_numbers_that_are_too_large():
    found, x = np.zeros(6), np.ones((2, 2))
    for _ in range(2):
        with pytest.raises(OverflowError):
            gather(1, found, 2**63, 0.0, True, (1, 2), x)
        gather(1, found, 1, 0.0, True, (1, 2), x)
        assert found[0] == 1


def test_other_numbers_of_arguments():
    for _ in range(2):
        with pytest.raises(Exception, match=r"argument|Missing|missing"):
            count(1)
        counts = np.zeros(3, np.int64)
        count(3, counts)
        assert counts.sum() == 3


def test_constants_and_cells_tell_kernels_apart():
    def make(number, cell):
        space = {"__name__": "made", "cell": cell}
        exec(f"def f(x):\n    return {number}, cell", space)
        return space["f"]

    def close(cell):
        return lambda x: cell

    keys = {_entry.key(make(n, None), (), ()) for n in (1, 2, 1.5, "'a'", (1, 2))}
    keys |= {_entry.key(close(cell), (), ()) for cell in (1, 2, "a")}
    assert len(keys) == 8


# What goes wrong in a kernel


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("parts", [3, -3])
def test_no_memory_within_a_kernel(parts, threads):
    md.set_num_threads(min(threads, md.config.num_threads))
    sizes, found = np.array([5, 1 << 58, 7]), np.zeros(3, np.int64)
    for _ in range(2):
        with pytest.raises(MemoryError):
            room_for(parts, sizes, found)
        np.testing.assert_array_equal(found, [5, 0, 7])  # the others are done all the same
        room_for(parts, np.array([1, 2, 3]), found)
        np.testing.assert_array_equal(found, [1, 2, 3])
        found[:] = 0


def test_no_memory_in_a_recorded_launch():
    sizes, found = np.array([5, 6]), np.zeros(2, np.int64)
    launches = []

    class Recorder:
        launched = staticmethod(launches.append)

    with _jit.recording():
        _launch.here.recorder = Recorder()
        try:
            room_for(2, sizes, found)
        finally:
            _launch.here.recorder = None
    run = _jit.program(launches)
    for large, expected in ((4, [4, 6]), (1 << 58, [0, 6]), (3, [3, 6])):
        found[:] = 0
        sizes[0] = large
        if large > 4:
            with pytest.raises(MemoryError):
                run()
        else:
            run()
        np.testing.assert_array_equal(found, expected)


# Threads


@pytest.mark.skipif(md.config.num_threads < 2, reason="needs two cores")
def test_the_one_knob_is_followed_by_every_python_thread():
    with ThreadPoolExecutor(1) as other:
        for n in (2, 1, 2, 1):
            md.set_num_threads(n)
            for call in (do_meet, lambda looks: other.submit(do_meet, looks).result()):
                assert call(1 << 28 if n == 2 else 1000) == (2 if n == 2 else 1)


def test_launches_from_many_threads_at_once():
    def work(seed):
        x = np.random.default_rng(seed).standard_normal((40, 30)).astype(np.float32)
        return [md.ops.matmul(x, x.T) for _ in range(20)]

    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(work, range(6)))
    for seed, results in enumerate(together):
        for result in results:
            np.testing.assert_array_equal(result, work(seed)[0])


@pytest.mark.usefixtures("empty_folder")
def test_two_threads_that_are_the_first_to_need_a_c_function_get_one_description(monkeypatch):
    """CPython keeps its address, so that it must not be replaced."""
    together, addresses = threading.Barrier(2), []

    def slowly(function):
        together.wait(60)
        return address

    address = _launch._c_address(_launch._replay)
    monkeypatch.setattr(_launch, "_c_address", slowly)
    monkeypatch.setattr(_launch, "_methods", {})
    monkeypatch.setattr(_launch, "_make", lambda found, owner, module: addresses.append(found))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: _launch._c_function(_launch._replay, None), range(2)))
    kept = _launch.ctypes.addressof(_launch._methods[_launch._replay])
    assert addresses == [kept, kept]


def test_threads_that_launch_while_another_compiles_and_sets_the_threads():
    """None waits for what the other holds."""
    most = md.config.num_threads

    def compile_new(number):
        new(number)(2, np.zeros(3))

    def turn_the_knob(number):
        for n in (1, most, 1, most):
            md.set_num_threads(n)

    def launch(number):
        for _ in range(200):
            counts = np.zeros(4, np.int64)
            count(4, counts)
            np.testing.assert_array_equal(counts, 1)

    with ThreadPoolExecutor(3) as pool:
        for done in [
            pool.submit(work, number)
            for number in range(4)
            for work in (compile_new, turn_the_knob, launch)
        ]:
            assert done.result(60) is None
    md.set_num_threads(most)
    assert md.config.num_threads == most


def test_a_system_that_gives_no_threads(monkeypatch):
    def fail(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_pool, "_threads", [])
    monkeypatch.setattr(threading.Thread, "start", fail)
    md.set_num_threads(md.config.num_threads)
    counts = np.zeros(100, np.int64)
    count(100, counts)
    assert np.all(counts == 1)
