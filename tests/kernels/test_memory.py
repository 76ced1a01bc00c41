"""Memory that is used again: whole while anyone looks at it, and enough for the next step."""

import gc
import threading

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim
from minidl.kernels import memory

LARGE = (512, 1024)  # 2 MB of float32


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    """A pool of the test's own."""
    gc.collect()
    pool = memory.Pool()
    monkeypatch.setattr(memory, "_pool", pool)
    monkeypatch.setattr(memory._Here, "pool", pool)  # of other threads
    monkeypatch.setattr(memory._here, "pool", pool)
    return pool


def address(array):
    return array.ctypes.data


def test_a_block_is_used_again_once_its_array_is_gone():
    x = memory.empty(LARGE, np.float32)
    place = address(x)
    assert address(memory.empty(LARGE, np.float32)) != place
    del x
    assert address(memory.empty((1024, 512), np.float32)) == place


@pytest.mark.parametrize(
    "view", [lambda x: x[3:], lambda x: x.T, lambda x: x.reshape(-1)[7:8], np.asarray]
)
def test_a_view_keeps_the_block(view):
    x = memory.empty(LARGE, np.float32)
    x[...] = 1
    kept = view(view(x))
    del x
    others = [memory.empty(LARGE, np.float32) for _ in range(3)]
    assert (kept == 1).all()
    assert all(not np.shares_memory(kept, other) for other in others)


def test_what_is_small_is_left_to_malloc(pool):
    memory.empty((10, 10), np.float32)
    assert pool.made == 0


def test_arrays_are_whole_vectors_apart_and_start_all_over_the_page():
    held = [memory.empty(LARGE, np.float32) for _ in range(8)]
    places = [address(x) % memory.PAGE for x in held]
    assert all(place % memory.ALIGNMENT == 0 for place in places)
    assert len(set(places)) == 8


def test_a_free_block_serves_what_is_a_little_smaller():
    x = memory.empty(LARGE, np.float32)
    place = address(x)
    del x
    smaller = memory.empty((LARGE[0] * 2 // 3, LARGE[1]), np.float32)
    assert address(smaller) == place
    assert smaller.size == LARGE[0] * 2 // 3 * LARGE[1]
    del smaller
    assert address(memory.empty((LARGE[0] // 3, LARGE[1]), np.float32)) != place


def test_statistics_and_clear(pool):
    x, y = memory.empty(LARGE, np.float32), memory.empty(LARGE, np.float64)
    size = 512 * 1024 * 4
    assert memory.statistics() == {"in_use": 3 * size, "most": 3 * size, "spare": 0}
    del x
    assert memory.statistics() == {"in_use": 2 * size, "most": 3 * size, "spare": size}
    memory.clear()
    assert memory.statistics()["spare"] == 0
    del y
    assert memory.statistics() == {"in_use": 0, "most": 3 * size, "spare": 2 * size}


def test_what_nobody_uses_goes_back_to_the_system(monkeypatch):
    monkeypatch.setattr(memory, "SPARE", 0)
    for rows in range(1, 40):  # ever larger: no block can be used again
        memory.empty((rows * 1024, 1024), np.float32)
    found = memory.statistics()
    assert found["spare"] <= 1.25 * found["most"]


def test_threads_share_the_pool(pool):
    def work(number):
        for _ in range(200):
            x = memory.empty((64, 1024), np.float32)
            x[...] = number
            y = x[1:] + 0
            assert (x == number).all()
            assert (y == number).all()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = memory.statistics()
    assert found["in_use"] == 0
    assert found["spare"] == sum(block.nbytes for block in pool.order.values())
    assert pool.made <= 8


def test_after_two_steps_a_training_step_asks_the_system_for_nothing(pool):
    """Layers of many sizes, whose arrays come and go in the same order at each step."""
    md.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16, activation="relu"),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(16, 40, 3, padding=1, activation="relu"),
        nn.DepthwiseConv2d(40, 3, stride=2, padding=1),
        nn.PointwiseConv2d(40, 70),
        nn.GlobalAvgPool2d(),
        nn.Linear(70, 10),
    )
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images = np.random.default_rng(0).standard_normal((16, 48, 48, 3)).astype(np.float32)
    made = []
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), np.arange(16) % 10).backward()
        optimizer.step()
        made.append(pool.made)
    assert made[0] > 5
    assert made[1] == made[4]
    assert memory.statistics()["in_use"] < memory.statistics()["most"] / 4


@pytest.mark.parametrize("shrinks", [True, False])
def test_a_pool_may_keep_all_its_blocks(shrinks, monkeypatch):
    """Those of a captured call: replays write to them when no array is there any more."""
    monkeypatch.setattr(memory, "SPARE", 0)
    pool, sizes = memory.Pool(shrinks), [n << 20 for n in (64, 24, 10, 4, 1)]
    for size in sizes:  # none large enough, or far too large, for the next
        with memory.using(pool):
            memory.empty((size,), np.uint8)
    pool._collect()
    assert (pool.spare == sum(sizes)) is not shrinks


def test_a_captured_call_keeps_its_memory(monkeypatch):
    shrunk = []
    monkeypatch.setattr(memory.Pool, "_shrink", lambda self: shrunk.append(self))

    @md.compile
    def halves(x):
        for _ in range(5):
            x = nn.functional.relu(x[: len(x) // 3] * 2.0)
        return x

    x = np.random.default_rng(0).standard_normal((3**8, 512)).astype(np.float32)
    for _ in range(3):
        found = halves(md.tensor(x)).data
        np.testing.assert_array_equal(found, np.maximum(x[: len(found)] * 32, 0))
    (programs,) = halves._programs.values()
    assert len({*map(id, programs)}) == 1
    assert programs[0]._pool.made > 1
    assert programs[0]._pool not in shrunk
