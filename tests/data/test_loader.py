"""The loader: order, batches, going on in mid-epoch, threads."""

import json
import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from squares import Squares

import minidl.random
from minidl.data import ArrayDataset, DataLoader
from minidl.errors import ArgumentError, DTypeError, MinidlError, StateError


def numbered(length):
    return ArrayDataset(np.arange(length))


def order(loader):
    """The items of one epoch, batch by batch."""
    return [batch[0].tolist() for batch in loader]


def items_of(loader):
    """The items of one epoch in a row."""
    return [item for batch in order(loader) for item in batch]


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("minidl-loader")]


# Batches and order


def test_batches_in_order():
    loader = DataLoader(numbered(7), 3)
    assert len(loader) == 3
    assert order(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    assert order(DataLoader(numbered(7), 3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]
    assert order(DataLoader(numbered(2), 9)) == [[0, 1]]


@given(
    length=st.integers(1, 40),
    size=st.integers(1, 45),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_an_epoch_has_each_item_once(length, size, shuffle, drop_last):
    if drop_last and size > length:
        with pytest.raises(ArgumentError, match="no batch to give"):
            DataLoader(numbered(length), size, shuffle, drop_last=True)
        return
    loader = DataLoader(numbered(length), size, shuffle, seed=3, drop_last=drop_last)
    batches = order(loader)
    items = [item for batch in batches for item in batch]
    kept = length // size * size if drop_last else length
    assert len(items) == len(set(items)) == kept
    assert set(items) <= set(range(length))
    assert len(batches) == len(loader) == math.ceil(kept / size)
    assert {len(batch) for batch in batches[:-1]} <= {size}


def test_the_order_derives_from_seed_and_epoch():
    loader = DataLoader(numbered(50), 50, shuffle=True, seed=7)
    for epoch in range(3):
        assert loader.epoch == epoch
        expected = np.random.default_rng([7, epoch]).permutation(50).tolist()
        assert order(loader) == [expected]
    other = DataLoader(numbered(50), 50, shuffle=True, seed=8)
    assert order(other) != [np.random.default_rng([7, 0]).permutation(50).tolist()]


def test_without_a_seed_it_derives_from_minidls_generator():
    def two():
        return [DataLoader(numbered(50), 50, shuffle=True) for _ in range(2)]

    minidl.random.manual_seed(4)
    first, second = two()
    minidl.random.manual_seed(4)
    again, again_second = two()
    assert order(first) == order(again)
    assert order(second) == order(again_second)
    assert first.seed != second.seed
    first_draw = int(np.random.Generator(np.random.PCG64(4)).integers(2**63))
    assert first.seed == first_draw


def test_numpys_global_generator_is_left_alone():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    list(DataLoader(numbered(9), 2, shuffle=True))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_an_epoch_left_early_is_followed_by_the_next():
    loader = DataLoader(numbered(20), 5, shuffle=True, seed=1)
    for _ in loader:
        break
    assert loader.epoch == 0
    assert items_of(loader) == np.random.default_rng([1, 1]).permutation(20).tolist()
    assert loader.epoch == 2


def test_two_passes_at_once_are_two_epochs():
    loader = DataLoader(numbered(8), 4, shuffle=True, seed=1)
    pairs = list(zip(loader, loader))
    for position, name in enumerate(("first", "second")):
        items = np.concatenate([pair[position][0] for pair in pairs]).tolist()
        expected = np.random.default_rng([1, position]).permutation(8).tolist()
        assert items == expected, name
    # The newer pass counts; zip asked only the older for more, and found it at its end.
    assert loader.state_dict() == {"seed": 1, "epoch": 1, "position": 2}


# Going on in mid-epoch


@settings(deadline=None, max_examples=50)
@given(
    length=st.integers(1, 30),
    size=st.integers(1, 8),
    taken=st.integers(0, 70),
    workers=st.sampled_from([0, 0, 2]),
)
def test_a_restored_loader_goes_on_with_the_next_batch(length, size, taken, workers):
    def fresh(seed):
        return DataLoader(numbered(length), size, shuffle=True, seed=seed, workers=workers)

    # Written down batch by batch, three epochs, with the epoch each batch is of.
    loader, expected = fresh(5), []
    states = [loader.state_dict()]
    for epoch in range(3):
        for batch in loader:
            expected.append((epoch, batch[0].tolist()))
            states.append(loader.state_dict())
    taken = min(taken, len(expected) - 1)

    restored, found = fresh(99), []
    restored.load_state_dict(json.loads(json.dumps(states[taken])))
    while restored.epoch < 3:
        epoch = restored.epoch
        found.extend((epoch, batch[0].tolist()) for batch in restored)
    assert found == expected[taken:]


def test_state_after_the_last_batch_ends_the_epoch_without_repeating_it():
    loader = DataLoader(numbered(4), 2)
    batches = iter(loader)
    next(batches)
    next(batches)
    restored = DataLoader(numbered(4), 2)
    restored.load_state_dict(loader.state_dict())
    assert order(restored) == []
    assert restored.epoch == 1
    assert next(batches, None) is None
    assert loader.state_dict() == restored.state_dict()


def test_state_is_plain_numbers():
    loader = DataLoader(numbered(9), 2, seed=3)
    batches = iter(loader)
    next(batches)
    assert loader.state_dict() == {"seed": 3, "epoch": 0, "position": 1}
    loader.load_state_dict({"seed": np.int64(3), "epoch": np.int64(2), "position": np.int64(4)})
    assert {type(number) for number in loader.state_dict().values()} == {int}
    assert order(loader) == [[8]]


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({}, "expected a state with seed, epoch, position"),
        ({"seed": 1, "epoch": 0}, "expected a state with"),
        ({"seed": 1, "epoch": 0, "position": 0, "more": 1}, "expected a state with"),
        (None, "expected a state with"),
        ({"seed": 1, "epoch": -1, "position": 0}, "epoch must be a whole number"),
        ({"seed": 1, "epoch": 0, "position": 1.0}, "position must be a whole number"),
        ({"seed": None, "epoch": 0, "position": 0}, "seed must be a whole number"),
        ({"seed": 1, "epoch": 0, "position": 6}, "after batch 6 of an epoch of 5"),
    ],
)
def test_a_bad_state_changes_nothing(state, match):
    loader = DataLoader(numbered(10), 2, seed=3)
    with pytest.raises(StateError, match=match):
        loader.load_state_dict(state)
    assert loader.state_dict() == {"seed": 3, "epoch": 0, "position": 0}


# Arguments


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"batch_size": 0}, ArgumentError, "batch_size must be a whole number from 1 up, got 0"),
        ({"batch_size": -1}, ArgumentError, "batch_size must be"),
        ({"batch_size": True}, ArgumentError, "batch_size must be .*got True"),
        ({"batch_size": 2.0}, ArgumentError, "batch_size must be .*got 2.0"),
        ({"batch_size": None}, ArgumentError, "batch_size must be"),
        ({"workers": -1}, ArgumentError, "workers must be a whole number from 0 up, got -1"),
        ({"workers": 1.5}, ArgumentError, "workers must be"),
        ({"workers": True}, ArgumentError, "workers must be"),
        ({"seed": -1}, ArgumentError, "seed must be a whole number from 0 up"),
        ({"seed": 1.0}, ArgumentError, "seed must be"),
        ({"seed": "a"}, ArgumentError, "seed must be"),
        ({"dataset": Squares(0)}, ArgumentError, "no batch to give: 0 items"),
        ({"dataset": (np.zeros(3), np.zeros(3))}, DTypeError, "got tuple: wrap arrays in"),
        ({"dataset": np.zeros(3)}, DTypeError, "expected a Dataset, got ndarray"),
        ({"dataset": [1, 2]}, DTypeError, "expected a Dataset, got list"),
    ],
)
def test_bad_arguments(arguments, error, match):
    with pytest.raises(error, match=match) as caught:
        DataLoader(**{"dataset": numbered(4), "batch_size": 2, **arguments})
    assert isinstance(caught.value, MinidlError)


def test_numpy_integers_are_whole_numbers():
    size, seed = np.int32(2), np.uint64(2**63)
    loader = DataLoader(numbered(4), size, True, seed=seed, workers=np.int8(1))
    assert items_of(loader) == np.random.default_rng([2**63, 0]).permutation(4).tolist()


# Threads


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_change_nothing_but_the_thread(workers):
    threads = set()

    class Watched(Squares):
        def __getitem__(self, index):
            threads.add(threading.current_thread())
            if index % 7 == 0:  # batches get ready out of order
                threading.Event().wait(0.002)
            return super().__getitem__(index)

    plain = list(DataLoader(Squares(50), 4, shuffle=True, seed=2))
    threaded = list(DataLoader(Watched(50), 4, shuffle=True, seed=2, workers=workers))
    assert len(plain) == len(threaded) == 13
    for one, other in zip(plain, threaded, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert threading.main_thread() not in threads
    assert 1 <= len(threads) <= workers
    assert loader_threads() == []


def test_workers_work_at_the_same_time():
    meet = threading.Barrier(3, timeout=30)  # a BrokenBarrierError if one of three never comes

    class Meeting(Squares):
        def __getitem__(self, index):
            meet.wait()
            return super().__getitem__(index)

    assert len(list(DataLoader(Meeting(6), 1, workers=3))) == 6


@pytest.mark.parametrize("workers", [1, 3])
def test_the_look_ahead_is_bounded(workers):
    too_far = threading.Event()

    class Watched(Squares):
        def __getitem__(self, index):
            if index > 2 * workers + 1:
                too_far.set()
            return super().__getitem__(index)

    batches = iter(DataLoader(Watched(1000), 1, workers=workers))
    next(batches)
    assert not too_far.wait(0.2)
    next(batches)
    next(batches)
    assert too_far.wait(30)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_reaches_the_caller_in_its_place(workers):
    class Broken(Squares):
        def __getitem__(self, index):
            if index == 7:
                raise LookupError("item 7 is broken")
            return super().__getitem__(index)

    seen = []

    def train():
        for squares, _ in DataLoader(Broken(100), 2, workers=workers):
            seen.append(squares.tolist())

    with pytest.raises(LookupError, match="item 7 is broken"):
        train()
    assert seen == [[0, 1], [4, 9], [16, 25]]
    assert loader_threads() == []


def test_breaking_out_leaves_no_thread():
    loader = DataLoader(Squares(1000), 2, workers=4)
    for _ in loader:
        assert loader_threads()
        break
    assert loader_threads() == []


def test_an_error_in_the_loop_leaves_no_thread():
    def train():
        for _ in DataLoader(Squares(1000), 2, workers=4):
            raise RuntimeError("the step failed")

    with pytest.raises(RuntimeError, match="the step failed"):
        train()
    assert loader_threads() == []


def test_an_iterator_that_is_dropped_leaves_no_thread():
    batches = iter(DataLoader(Squares(1000), 2, workers=4))
    next(batches)
    assert loader_threads()
    del batches
    assert loader_threads() == []


# Transforms


def jitter(images, rng):
    """Adds one random number a batch; nothing where there is no generator."""
    return images + (0.0 if rng is None else rng.random())


def values(loader):
    return [batch[0].tolist() for batch in loader]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_augmentation_is_the_same_for_any_number_of_workers(workers):
    def loader(workers):
        return DataLoader(
            numbered(20), 3, True, seed=5, workers=workers, transform=[jitter], augment=True
        )

    alone, helped = loader(0), loader(workers)
    first, second = values(alone), values(alone)
    assert [values(helped), values(helped)] == [first, second]
    noise = {round(x % 1, 9) for batch in first + second for x in batch}
    assert len(noise) == 14  # another number for each batch of each epoch


def test_augmentation_goes_on_where_it_was_left():
    loader = DataLoader(numbered(20), 3, True, seed=5, transform=[jitter], augment=True)
    whole = values(loader)
    begun = DataLoader(numbered(20), 3, True, seed=5, transform=[jitter], augment=True)
    batches = iter(begun)
    first = [next(batches)[0].tolist() for _ in range(2)]
    going_on = DataLoader(numbered(20), 3, True, transform=[jitter], augment=True, workers=2)
    going_on.load_state_dict(begun.state_dict())
    assert first + values(going_on) == whole


def test_transforms_run_in_turn_on_the_first_array_only():
    dataset = ArrayDataset(np.arange(4.0), np.arange(4))
    double_after_one = [lambda x, rng: x + 1, lambda x, rng: 2 * x]
    ((images, labels),) = DataLoader(dataset, 4, transform=double_after_one)
    assert images.tolist() == [2, 4, 6, 8]
    assert labels.tolist() == [0, 1, 2, 3]


def test_no_random_numbers_unless_told():
    given = []
    list(DataLoader(numbered(4), 2, transform=lambda x, rng: given.append(rng) or x))
    assert given == [None, None]


def test_transforms_must_be_functions():
    with pytest.raises(DTypeError, match=r"expected transforms to be functions .* got 'flip'"):
        DataLoader(numbered(4), 2, transform=["flip"])


def test_a_dataset_may_choose_how_it_is_shuffled():
    class Backwards(ArrayDataset):
        def order(self, generator):
            return np.arange(len(self))[::-1]

    assert order(DataLoader(Backwards(np.arange(4)), 2, True)) == [[3, 2], [1, 0]]
    assert order(DataLoader(Backwards(np.arange(4)), 2)) == [[0, 1], [2, 3]]
