"""What a captured function sees beside its arguments may change: the next call computes with it."""

import functools
import itertools
import os
import sys
import types

import numpy as np
import pytest

import minidl as md
from minidl import nn, ops
from minidl.capture.surroundings import Surroundings

MODEL = nn.Linear(3, 2)
X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
SCALE, MASK = 1.0, np.ones(2, np.float32)
SETTINGS, LAYERS = {"scale": 1.0, "deep": {"shift": [0.0, 1.0]}}, [MODEL, MODEL]
DEEP = {"a": ({"b": [{"c": [[[[1.0]]]]}]},)}
DEEP["itself"] = DEEP
LARGE = np.ones((1 << 19, 2), np.float64)
THEIRS = types.ModuleType("theirs")
THEIRS.scale, THEIRS.__file__ = 1.0, "theirs.py"
sys.modules["theirs"] = THEIRS


class Config:
    scale = 1.0

    def __init__(self):
        self.shift = 0.0

    @property
    def doubled(self):
        return 2 * self.shift


class Scaled(nn.Module):
    def __init__(self):
        self.layer, self.scale, self.config = MODEL, 1.0, Config()

    def forward(self, x):
        return self.layer(x) * self.scale + self.config.shift


class Trainer:
    def __init__(self):
        self.model, self.scale = MODEL, 1.0

    def call(self, x):
        return self.scaled(self.model(x))

    def scaled(self, y):
        return y * self.scale

    @md.compile
    def captured(self, x):
        return self.call(x)


CONFIG, SCALED = Config(), Scaled()


def helper(y):
    return y * SCALE


def set_global(name, value):
    globals()[name] = value


def of_globals():
    yield lambda x: MODEL(x) * SCALE, lambda: set_global("SCALE", SCALE + 1)
    yield lambda x: helper(MODEL(x)), lambda: set_global("SCALE", SCALE + 1)
    yield lambda x: MODEL(x) * (2 * MASK), lambda: np.add(MASK, 1, out=MASK)
    yield lambda x: MODEL(x) * MASK, lambda: np.add(MASK, 1, out=MASK)
    yield lambda x: MODEL(x) * MASK, lambda: set_global("MASK", MASK + 1)
    yield lambda x: MODEL(x) * float(LARGE.mean()), lambda: np.add(LARGE, 1, out=LARGE)
    yield lambda x: MODEL(x) * THEIRS.scale, lambda: vars(THEIRS).update(scale=THEIRS.scale + 1)


def of_objects():
    def more(thing, name):
        return lambda: setattr(thing, name, getattr(thing, name) + 1)

    yield lambda x: MODEL(x) * Config.scale, more(Config, "scale")
    yield lambda x: MODEL(x) * CONFIG.scale, more(Config, "scale")
    yield lambda x: MODEL(x) + CONFIG.shift, more(CONFIG, "shift")
    yield lambda x: MODEL(x) + CONFIG.doubled, more(CONFIG, "shift")
    yield SCALED, more(SCALED, "scale")
    yield lambda x: SCALED(x), more(SCALED, "scale")
    yield lambda x: SCALED(x), more(SCALED.config, "shift")
    trainer = Trainer()
    yield trainer.call, more(trainer, "scale")
    yield functools.partial(Trainer.call, trainer), more(trainer, "scale")
    yield (lambda x: trainer.captured(x)), more(trainer, "scale")


def of_containers():
    def change_dict():
        SETTINGS["scale"] += 1

    def change_deep():
        SETTINGS["deep"]["shift"][1] += 1

    def change_list():
        LAYERS[1] = nn.Linear(3, 2)

    def change_deeper():
        DEEP["a"][0]["b"][0]["c"][0][0][0][0] += 1

    yield lambda x: MODEL(x) * SETTINGS["scale"], change_dict
    yield lambda x: MODEL(x) * DEEP["a"][0]["b"][0]["c"][0][0][0][0], change_deeper
    yield lambda x: MODEL(x) + SETTINGS["deep"]["shift"][1], change_deep
    yield lambda x: LAYERS[1](x), change_list
    arrays = [np.zeros(2, np.float32)]
    yield lambda x: MODEL(x) + (arrays[0] + 1), lambda: np.add(arrays[0], 1, out=arrays[0])
    shifts = [1.0]
    defaults = lambda x, shifts=shifts: MODEL(x) + shifts[0]  # noqa: E731
    yield defaults, lambda: shifts.__setitem__(0, shifts[0] + 1)
    partial = functools.partial(lambda shifts, x: MODEL(x) + shifts[0], shifts)
    yield partial, lambda: shifts.append(shifts.pop() + 1)


def of_closures():
    scale = 1.0

    def change():
        nonlocal scale
        scale += 1

    def inner(x):
        return next(MODEL(x) * s for s in (scale,))

    yield lambda x: MODEL(x) * scale, change
    yield inner, change
    yield md.compile(lambda x: MODEL(x) * scale), change


def of_the_system():
    def change():
        os.environ["MINIDL_TEST_SCALE"] = str(scale() + 1)

    def scale():
        return float(os.environ.get("MINIDL_TEST_SCALE", "1"))

    yield lambda x: MODEL(x) * scale(), change
    yield lambda x: MODEL(x) * float(os.getenv("MINIDL_TEST_SCALE", "1")), change
    environment = os.environ
    yield lambda x: MODEL(x) * float(environment.get("MINIDL_TEST_SCALE", 1)), change


CASES = {
    f"{make.__name__} {number}": (make, number)
    for make, count in (
        (of_globals, 7),
        (of_objects, 10),
        (of_containers, 7),
        (of_closures, 3),
        (of_the_system, 3),
    )
    for number in range(count)
}


@pytest.mark.parametrize("name", CASES)
def test_the_next_call_computes_with_it(name, monkeypatch):
    monkeypatch.setenv("MINIDL_TEST_SCALE", "1")
    make, number = CASES[name]
    function, change = next(itertools.islice(make(), number, None))
    compiled = md.compile(lambda x: function(x)) if isinstance(function, nn.Module) else None
    compiled = compiled or md.compile(function)
    last = None
    for step in range(9):
        if step in (1, 4, 8):
            change()
        md.config.capture = False
        expected = function(X).data
        md.config.capture = True
        assert (last is None) or (step in (1, 4, 8)) != np.array_equal(last, expected)
        last = expected
        np.testing.assert_array_equal(compiled(X).data, expected, err_msg=f"call {step}")


def test_there_are_no_other_cases():
    for make in (of_globals, of_objects, of_containers, of_closures, of_the_system):
        assert len(list(make())) == sum(m is make for m, _ in CASES.values())


def test_what_is_made_in_the_first_call_and_kept():
    made = {}

    def call(x):
        if "positions" not in made:
            made["positions"] = md.tensor(np.arange(3, dtype=np.float32))
        return MODEL(x + made["positions"])

    compiled = md.compile(call)
    for x in np.stack([X, X + 1, X + 2, X + 3]):
        np.testing.assert_array_equal(compiled(x).data, call(x).data)
    assert compiled.refused is None
    assert repr(compiled).endswith("1 kinds of calls recorded>")


def test_what_others_change_is_no_matter():
    """Names that the code doesn't use, and globals that are called as an attribute is."""
    data = [1]

    def call(x):
        return ops.relu(MODEL(md.from_numpy(x))).detach()

    surroundings = Surroundings(call)
    data.append(2)
    globals()["detach"], globals()["UNUSED"] = 1, 2
    assert surroundings.changed() is None


def test_a_loop_of_objects_and_functions():
    one, other = Config(), Config()
    one.shift, other.shift = other, one

    def even(x):
        return odd(x.shift)

    def odd(x):
        return even(x.shift)

    assert Surroundings(even, (one,)).changed() is None
    other.shift = 1.0
    surroundings = Surroundings(even, (one, [other]))
    other.shift = 2.0
    assert surroundings.changed() == "shift"
