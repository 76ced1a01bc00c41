"""Checkpoints: all that was saved comes back to the bit, or nothing is touched."""

import contextlib
import itertools
import os
import random

import h5py
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from train.small import a_full_trainer, a_loader, bits, disturb, generators, train_by_hand

import minidl as md
from minidl import nn, optim
from minidl.errors import FileFormatError, StateError


def make(seed=0):
    """One of each part that a checkpoint holds."""
    trainer = a_full_trainer(seed)
    parts = {name: getattr(trainer, name) for name in ("model", "optimizer", "scheduler", "ema")}
    return {**parts, "loader": a_loader(order=seed)}


def trained():
    """Parts in the middle of their third epoch."""
    parts = make()
    model, optimizer, scheduler, ema, loader = parts.values()
    train_by_hand(model, optimizer, loader, 2, scheduler, ema)
    assert len(list(itertools.islice(loader, 3))) == 3
    return parts


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of everything."""
    md.save_checkpoint(tmp_path / "c.h5", **trained(), extra={"note": [1, 2]})
    return tmp_path / "c.h5"


def held(parts):
    """All states, and where the random generators are."""
    return {name: bits(part.state_dict()) for name, part in parts.items()}, generators()


def draws():
    """Some numbers of each generator; each normal one leaves half a pair for the next."""
    return (
        md.random.generator().random(3).tolist(),
        np.random.standard_normal(3).tolist(),  # noqa: NPY002
        [random.gauss(0, 1) for _ in range(3)],
    )


# All comes back


def test_all_parts_come_back(tmp_path):
    parts, other = trained(), make(7)
    expected = held(parts)
    md.save_checkpoint(tmp_path / "c.h5", **parts, extra="note")
    disturb()
    assert held(parts) != expected != held(other)
    assert md.load_checkpoint(tmp_path / "c.h5", **other) == "note"
    assert held(other) == expected


@pytest.mark.parametrize("name", ["model", "scheduler", "ema", "loader"])
def test_what_is_not_asked_for_is_left_alone(name, saved):
    parts = make(7)
    before, expected = held(parts)[0], held(trained())[0]
    md.load_checkpoint(saved, **{name: parts[name]})
    after = held(parts)[0]
    assert after[name] == expected[name] != before[name]
    lr = {"optimizer"} if name == "scheduler" else set()  # whose rates it sets
    assert {n for n in parts if after[n] != before[n]} == {name} | lr


def test_the_random_generators_go_on(tmp_path):
    draws()
    md.save_checkpoint(tmp_path / "c.h5")
    expected = draws()
    disturb()
    assert md.load_checkpoint(tmp_path / "c.h5") is None
    assert draws() == expected


def test_another_program_finds_the_weights(saved):
    with h5py.File(saved) as file:
        for name, array in trained()["model"].state_dict().items():
            stored = file["model/" + name.replace(".", "/")]
            assert bits(stored[()]) == bits(array)


# All or nothing


def test_parts_that_are_not_there(tmp_path):
    parts = make(7)
    for name in parts:
        others = {n: part for n, part in make().items() if n != name}
        md.save_checkpoint(tmp_path / "c.h5", **others)
        before = held(parts)
        with pytest.raises(StateError, match=rf"c\.h5: .* no state of {name}, only of"):
            md.load_checkpoint(tmp_path / "c.h5", **parts)
        assert held(parts) == before


def misfit(part):
    """Parts of which one doesn't fit, and what the error names."""
    parts = make(7)
    model, optimizer = parts["model"], parts["optimizer"]
    if part == "model":
        model[3] = nn.Linear(8, 4)
        return parts, "3.weight"
    if part == "class":
        parts["optimizer"] = optim.Adam(model.parameters())
        return parts, "the state of SGD, the optimizer is Adam"
    if part == "dtype":
        model.astype(np.float64)
        return parts, "SGD.load_state_dict"
    if part == "scheduler":
        parts["scheduler"] = optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        return parts, "ReduceLROnPlateau"
    if part == "ema":
        parts["ema"] = optim.EMA(nn.Linear(4, 8))
        return parts, "EMA"
    parts["loader"] = a_loader(rows=8)
    return parts, "DataLoader can't continue after batch 3 of an epoch of 2"


@pytest.mark.parametrize("part", ["model", "class", "dtype", "scheduler", "ema", "loader"])
def test_one_part_that_does_not_fit_leaves_all_as_they_were(part, saved):
    disturb()
    parts, named = misfit(part)
    before = held(parts)
    with pytest.raises(StateError, match=named):
        md.load_checkpoint(saved, **parts)
    assert held(parts) == before


def test_a_generator_of_another_kind_leaves_all_as_it_was(tmp_path):
    """NumPy's global generator can be exchanged."""
    try:
        np.random.set_bit_generator(np.random.PCG64(1))
        md.save_checkpoint(tmp_path / "c.h5", **trained())
    finally:
        np.random.set_bit_generator(np.random.MT19937(1))
    parts = make(7)
    before = held(parts)
    with pytest.raises(StateError, match="MT19937"):
        md.load_checkpoint(tmp_path / "c.h5", **parts)
    assert held(parts) == before


def test_a_file_that_changes_while_it_is_read_leaves_all_as_it_was(saved):
    parts = make(7)
    before, load = held(parts), parts["ema"].load_state_dict
    parts["ema"].load_state_dict = lambda state: (os.utime(saved, (1, 1)), load(state))
    with pytest.raises(FileFormatError, match="another program changed the file"):
        md.load_checkpoint(saved, **parts)
    assert held(parts) == before


@pytest.mark.parametrize("kind", ["weights", "text", "empty", "newer"])
def test_files_that_are_no_checkpoints(kind, tmp_path, monkeypatch):
    path, parts = tmp_path / "c.h5", make(7)
    if kind == "weights":
        md.save_weights(parts["model"], path)
    elif kind == "newer":
        with monkeypatch.context() as patch:
            patch.setattr("minidl.io.checkpoint.FORMAT_VERSION", 2)
            md.save_checkpoint(path, **trained())
    else:
        path.write_text("a checkpoint" if kind == "text" else "")
    named = {"weights": "found 'minidl weights'", "newer": "a newer minidl wrote it"}
    before = held(parts)
    with pytest.raises(FileFormatError, match=rf"c\.h5: .*{named.get(kind, 'found')}"):
        md.load_checkpoint(path, **parts)
    assert held(parts) == before


def test_a_damaged_dataset_is_named(saved):
    with h5py.File(saved) as file:
        names = []
        file.visit(names.append)
        found = {name: file[name] for name in names if isinstance(file[name], h5py.Dataset)}
        places = {name: (d.id.get_offset(), d.nbytes) for name, d in found.items() if d.nbytes}
    assert {name.split("/")[0] for name in places} == {"model", "state", "document"}
    whole, parts = saved.read_bytes(), make(7)
    before = held(parts)
    for name, (start, length) in places.items():
        at = start + length // 2
        saved.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        with pytest.raises(FileFormatError, match=f"{name}.* is damaged"):
            md.load_checkpoint(saved, **parts)
    assert held(parts) == before


def test_a_byte_that_is_damaged_anywhere_and_a_file_cut_off(saved):
    whole, parts = saved.read_bytes(), make(7)
    before = held(parts)
    for at in range(0, len(whole), len(whole) // 50):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            saved.write_bytes(damaged)
            with pytest.raises(FileFormatError, match=r"c\.h5"):
                md.load_checkpoint(saved, **parts)
    assert held(parts) == before


# Groups and parameters that changed since


class Net(nn.Module):
    def __init__(self):
        self.body = nn.Linear(4, 3)
        self.head = nn.Linear(3, 2)


BODY, HEAD = ["body.weight", "body.bias"], ["head.weight", "head.bias"]
SAVED, OWN = (0.5, 0.25), (7.0, 8.0)  # rates of the groups then and now


def grouped(groups, rates):
    """A network, its optimizer with groups of these names and rates, and a scheduler."""
    model = Net()
    named = dict(model.named_parameters())
    params = [{"params": [named[n] for n in g], "lr": r} for g, r in zip(groups, rates)]
    optimizer = optim.Adam(params)
    return model, optimizer, optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)


def step(model, optimizer, times=3):
    rng = np.random.default_rng(4)
    for _ in range(times):
        for p in model.parameters():
            p.grad = rng.normal(size=p.shape).astype(np.float32)
        optimizer.step()


def states(model, optimizer):
    """The state of each parameter that is optimised, by name."""
    names = {p: name for name, p in model.named_parameters()}
    order = [names[p] for group in optimizer.param_groups for p in group["params"]]
    return {order[int(n)]: bits(s) for n, s in optimizer.state_dict()["state"].items()}


GROUPS = {  # the groups then and now, and the rates now
    "fewer": ([BODY + HEAD], [HEAD], [SAVED[0]]),
    "one of two": ([BODY, HEAD], [HEAD], [SAVED[1]]),
    "more": ([HEAD], [HEAD, BODY], [SAVED[0], OWN[1]]),
    "more in the group": ([HEAD], [BODY + HEAD], [SAVED[0]]),
    "split": ([BODY + HEAD], [HEAD, BODY], [SAVED[0], SAVED[0]]),
    "merged": ([BODY, HEAD], [BODY + HEAD], [OWN[0]]),
    "in another order": ([BODY, HEAD], [HEAD, BODY], [SAVED[1], SAVED[0]]),
    "one for another": ([BODY, HEAD[:1]], [HEAD[:1], HEAD[1:]], [SAVED[1], OWN[1]]),
    "all others": ([BODY], [HEAD], [OWN[0]]),
}


@pytest.mark.parametrize("with_scheduler", [False, True])
@pytest.mark.parametrize(("then", "now", "rates"), GROUPS.values(), ids=GROUPS)
def test_known_parameters_go_on_in_other_groups(then, now, rates, with_scheduler, tmp_path):
    model, optimizer, scheduler = grouped(then, SAVED)
    step(model, optimizer)
    scheduler.step(0.5)
    md.save_checkpoint(tmp_path / "c.h5", model, optimizer, scheduler)
    expected = states(model, optimizer)

    model, optimizer, scheduler = grouped(now, OWN)
    expected = {n: expected.get(n, s) for n, s in states(model, optimizer).items()}
    given = {"scheduler": scheduler} if with_scheduler else {}
    md.load_checkpoint(tmp_path / "c.h5", model, optimizer, **given)
    assert states(model, optimizer) == expected
    assert [group["lr"] for group in optimizer.param_groups] == rates
    assert (scheduler.last_epoch, scheduler.best) == ((1, 0.5) if with_scheduler else (0, np.inf))


def test_a_schedule_goes_on_for_old_and_new_groups(tmp_path):
    def warmup(optimizer):
        after = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        return optim.lr_scheduler.LinearWarmup(optimizer, 1, after=after)

    model, optimizer, _ = grouped([BODY], SAVED)
    scheduler = warmup(optimizer)
    for _ in range(4):
        scheduler.step()
    md.save_checkpoint(tmp_path / "c.h5", model, optimizer, scheduler)
    model, optimizer, _ = grouped([BODY, HEAD], OWN)
    scheduler = warmup(optimizer)
    md.load_checkpoint(tmp_path / "c.h5", model, optimizer, scheduler)
    assert optimizer.param_groups[0]["lr"] == SAVED[0] / 2  # 3 epochs after the rise
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [SAVED[0] / 4, OWN[1] / 4]


def test_an_optimizer_does_not_begin_afresh_in_silence(tmp_path):
    """Without the model, nothing says which parameter is which."""
    model, optimizer, _ = grouped([BODY + HEAD], SAVED)
    step(model, optimizer)
    md.save_checkpoint(tmp_path / "c.h5", model, optimizer)
    with pytest.raises(StateError, match="model"):
        md.load_checkpoint(tmp_path / "c.h5", optimizer=grouped([BODY + HEAD], OWN)[1])


def test_without_models_parameters_are_known_by_number(tmp_path):
    model, optimizer, _ = grouped([BODY, HEAD], SAVED)
    step(model, optimizer)
    md.save_checkpoint(tmp_path / "c.h5", optimizer=optimizer)
    other = grouped([BODY, HEAD], OWN)[1]
    md.load_checkpoint(tmp_path / "c.h5", optimizer=other)
    assert bits(other.state_dict()) == bits(optimizer.state_dict())


# What users add

ODD_KEYS = ["", ".", "..", "/", "a/b", "a.b", "%", "%2E", "%2F", " ", "\0", "é", "0", "document"]
KEYS = st.sampled_from(ODD_KEYS) | st.text().filter(lambda key: not key.startswith("$"))
KINDS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
DTYPES = [order + kind for order in "<>" for kind in KINDS]
VIEWS = [np.asarray, np.asfortranarray, np.transpose, np.flip, np.atleast_2d]
ARRAYS = st.builds(
    lambda array, view: np.asarray(view(array)),
    hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)),
    st.sampled_from(VIEWS),
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | ARRAYS
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
    max_leaves=15,
)


@given(TREES)
@example([float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 10**4000, -(2**63), True, ""])
@example({key: np.array(i) for i, key in enumerate(ODD_KEYS)})
@example([[], (), {}, [()], ([],), {"": {}}])
def test_extra_comes_back(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "extra.h5"
    md.save_checkpoint(path, extra=tree)
    assert bits(md.load_checkpoint(path)) == bits(tree)


def test_numbers_of_numpy_come_back_as_pythons(tmp_path):
    numbers = [np.float32(0.5), np.int64(-3), np.uint8(3), np.float64("nan"), np.bool_(True)]
    md.save_checkpoint(tmp_path / "c.h5", extra=numbers)
    assert bits(md.load_checkpoint(tmp_path / "c.h5")) == bits([0.5, -3, 3, float("nan"), True])


REFUSED = [
    object(), {1, 2}, b"bytes", 1j, range(3), nn.Linear(2, 2), md.tensor([1.0]),
    {3: 1}, {None: 1}, {"$array": "state"}, {"$": 1},
    np.zeros(2, complex), np.zeros(2, np.longdouble), np.zeros(2, object),
    np.zeros(2, "datetime64[s]"), np.zeros(2, [("a", "i4")]), np.array(["text"]),
]  # fmt: skip


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_is_refused_is_named_and_the_old_file_stays(value, saved):
    old = saved.read_bytes()
    with pytest.raises(StateError, match=r"can't hold .* found at .*/a%2Fb/1/c(\W|$)"):
        md.save_checkpoint(saved, extra={"a/b": [0, {"c": value}]})
    assert saved.read_bytes() == old
    assert [file.name for file in saved.parent.iterdir()] == ["c.h5"]


def nested(value, times):
    for _ in range(times):
        value = [value]
    return value


HARD = {
    "digits": lambda: 10**5000,
    "surrogate": lambda: "\ud800",
    "surrogates": lambda: "\ud83d\ude00",
    "surrogate key": lambda: {"\udfff": 1},
    "array in depth": lambda: nested(np.ones(1), 40),
    "depth": lambda: nested(1, 5000),
    "cycle": lambda: (cycle := []).append(cycle) or cycle,
    "axes": lambda: np.ones((1,) * 33),
    "count": lambda: [np.ones(1)] * 8200,
}


@pytest.mark.parametrize("value", HARD.values(), ids=HARD)
def test_what_could_not_be_read_back_is_refused_at_once(value, saved):
    """Or comes back: it is for the code to choose."""
    old, value = saved.read_bytes(), value()
    with contextlib.suppress(StateError):
        md.save_checkpoint(saved, extra=value)
    if saved.read_bytes() == old:
        assert md.load_checkpoint(saved) == {"note": [1, 2]}
    else:
        assert bits(md.load_checkpoint(saved)) == bits(value)
