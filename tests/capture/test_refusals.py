"""What can't be captured is refused by name, in the first call or the second."""

import functools
import itertools
import random

import numpy as np
import pytest
from steps import Training, batches

import minidl as md
from minidl import nn, ops, optim
from minidl.errors import CaptureError

MODEL = nn.Linear(3, 2)
X = np.random.default_rng(0).standard_normal((6, 4, 3)).astype(np.float32)
COUNT, SCALE, TABLE = 0, 2.0, np.ones(2, np.float32)
COUNTS: dict = {"calls": 0}
GENERATOR, COUNTER = np.random.default_rng(0), itertools.count()


class Model(nn.Module):
    """A model of one's own, with Python in it."""

    def __init__(self):
        self.layer, self.calls, self.seen = nn.Linear(3, 2), 0, []

    def forward(self, x):
        self.calls += 1
        return self.layer(x) * (2.0 if self.calls > 6 else 1.0)


class Listing(Model):
    def forward(self, x):
        self.seen.append(x.shape)
        return self.layer(x)


def draws_from_numpy(x):
    return MODEL(x) * float(np.random.rand())  # noqa: NPY002


def draws_from_a_generator_of_numpys(x, generator=GENERATOR):
    return MODEL(x) * float(generator.random() > 0.5)


def draws_from_python(x):
    return MODEL(x) * 2.0 if random.random() > 2 else MODEL(x)


def draws_from_md(x):
    return MODEL(x) * float(md.random.generator().random())


def writes_a_file(x):
    with open("/tmp/never-written.txt", "w") as file:
        file.write("x")
    return MODEL(x)


def calls_item(x):
    return MODEL(x) * MODEL(x).sum().item()


def makes_a_float(x):
    return MODEL(x) * float(MODEL(x).sum())


def branches_on_a_tensor(x):
    y = MODEL(x)
    return y * 2 if y.sum() > 0 else y


def branches_on_data(x):
    y = MODEL(x)
    return y * 2 if y.data.sum() > 0 else y


def branches_on_an_argument(x):
    return MODEL(x) if x.mean() > 0 else MODEL(x) * 2


def branches_on_one_number(x):
    return MODEL(x) if x[0, 0] > 0 else MODEL(x) * 2


def branches_on_what_an_op_made_of_arrays(x):
    return MODEL(x) if ops.sum(x) > 0 else MODEL(x) * 2


def branches_on_a_norm(x):
    MODEL.zero_grad()
    MODEL(x).sum().backward()
    norm = optim.clip_grad_norm(MODEL.parameters(), 1.0)
    return MODEL(x) * (2.0 if norm > 1 else 1.0)


def computes_with_numpy(x):
    return MODEL(np.tanh(x))


def computes_with_a_method(x):
    return MODEL((x.astype(np.float64) / 2).astype(np.float32))


def writes_to_an_argument(x):
    x[0] = 0
    return MODEL(x)


def steps_by_hand(x):
    MODEL.zero_grad()
    MODEL(x).sum().backward()
    for p in MODEL.parameters():
        p.data -= 0.1 * p.grad
    return MODEL(x)


def prints(x):
    y = MODEL(x)
    print(y)
    return y


def prints_data(x):
    y = MODEL(x)
    return y, f"{y.data}"


def returns_a_float(x):
    return MODEL(x), 1.5


def returns_an_object(x):
    return MODEL(x), MODEL


def counts_in_a_global(x):
    global COUNT
    COUNT += 1
    return MODEL(x) * (2.0 if COUNT > 6 else 1.0)


def counts_in_a_dict(x):
    COUNTS["calls"] += 1
    return MODEL(x) * (2.0 if COUNTS["calls"] > 6 else 1.0)


def counts_in_an_iterator(x, counter=COUNTER):
    return MODEL(x) * (2.0 if next(counter) > 6 else 1.0)


def counts_in_a_closure():
    count = 0

    def call(x):
        nonlocal count
        count += 1
        return MODEL(x) * (2.0 if count > 6 else 1.0)

    return call


def counts_in_a_helper(x):
    return counts_in_a_dict(x) + 1


def counts_in_an_attribute():
    model = Model()
    return lambda x: model(x)


def counts_behind_a_partial():
    return functools.partial(lambda model, x: model(x), Model())


def lists_in_a_model():
    model = Listing()
    return lambda x: model(x)


def steps_the_scheduler():
    training = Training("small")
    scheduler = optim.lr_scheduler.StepLR(training.optimizer, 2)
    pairs = list(batches("small", 1))

    def call(x):
        training.step(*pairs[0])
        scheduler.step()
        return MODEL(x)

    return call


def changes_a_mode():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))

    def call(x):
        y = model.train()(x)
        return y + model.eval()(x)

    return call


def has_a_hook():
    model = nn.Linear(3, 2)
    model.register_forward_hook(lambda module, inputs, output: None)
    return lambda x: model(x)


def wants_the_gradient_of_an_argument(x):
    x = md.from_numpy(x, requires_grad=True)
    (MODEL(x) ** 2).sum().backward()
    return x.grad.sum()


REFUSED = {
    draws_from_numpy: "draws from np.random, which a replay would leave out: draw outside",
    draws_from_a_generator_of_numpys: "changes generator, which a replay would leave out",
    draws_from_python: "draws from Python's random",
    draws_from_md: "draws from md's generator",
    writes_a_file: "writes to the file '/tmp/never-written.txt'",
    calls_item: r"item\(\), float\(\), int\(\) or bool\(\) of a tensor",
    makes_a_float: r"item\(\), float\(\), int\(\) or bool\(\) of a tensor",
    branches_on_a_tensor: r"item\(\), float\(\), int\(\) or bool\(\) of a tensor",
    branches_on_data: r"sum\(\) of an argument, or of a tensor's data or grad, is computed once",
    branches_on_an_argument: r"mean\(\) of an argument",
    branches_on_one_number: r"getitem\(\) of an argument",
    branches_on_what_an_op_made_of_arrays: "NumPy's greater of an argument",
    branches_on_a_norm: r"gt\(\) of a number",
    computes_with_numpy: "NumPy's tanh of an argument",
    computes_with_a_method: r"astype\(\) of an argument",
    writes_to_an_argument: r"setitem\(\) of an argument",
    steps_by_hand: "NumPy's multiply of an argument, or of a tensor's data or grad",
    prints: "printing a tensor reads numbers that a replay computes anew",
    prints_data: r"format\(\) of an argument, or of a tensor's data or grad",
    returns_a_float: "returned a float, which a replay would return as it was",
    returns_an_object: "returned a Linear",
    counts_in_a_global: "changes COUNT, which a replay would leave out",
    counts_in_a_dict: "changes COUNTS",
    counts_in_an_iterator: "changes counter",
    counts_in_a_closure: "changes count",
    counts_in_a_helper: "changes COUNTS",
    counts_in_an_attribute: "changes calls",
    counts_behind_a_partial: "changes calls",
    lists_in_a_model: "changes seen",
    steps_the_scheduler: r"StepLR.step\(\) would be left out",
    changes_a_mode: "changes the mode or the hooks of Sequential",
    has_a_hook: "a hook of Linear is Python",
    wants_the_gradient_of_an_argument: r"sum\(\) of an argument, or of a tensor's data or grad",
}


def of(story):
    """The function itself, or what it makes."""
    return story if story.__code__.co_argcount else story()


@pytest.mark.parametrize("story", REFUSED, ids=lambda story: story.__name__)
def test_refused_by_name(story):
    compiled = md.compile(of(story))

    def call_twice():
        compiled(X[0])
        compiled(X[1])

    with pytest.raises(CaptureError, match=f"^md.compile: .*{REFUSED[story]}"):
        call_twice()
    assert REFUSED[story].split("\\")[0][:12] in compiled.refused
    MODEL(X[0])  # all is usable
    assert md.compile(lambda x: MODEL(x))(X[0]).shape == (4, 2)


@pytest.mark.parametrize(
    "story",
    [s for s in REFUSED if s not in (draws_from_python, writes_a_file)],
    ids=lambda story: story.__name__,
)
def test_what_nobody_asked_to_capture_goes_on_without(story):
    """And is called once for each call: what it counts, draws and moves happens once."""
    global COUNT
    found = []
    for capture in (False, True):
        COUNT = COUNTS["calls"] = 0
        md.manual_seed(0)
        MODEL.load_state_dict({"weight": np.ones((3, 2)), "bias": np.zeros(2)})
        np.random.seed(0)  # noqa: NPY002
        if story is draws_from_a_generator_of_numpys:
            call = functools.partial(story, generator=np.random.default_rng(0))
        elif story is counts_in_an_iterator:
            call = functools.partial(story, counter=itertools.count())
        else:
            call = of(story)
        call = md.capture.Compiled(call, refuse=False) if capture else call
        told = []
        for x in [*X, *X]:
            y = call(x.copy())
            told.append(np.array((y[0] if isinstance(y, tuple) else y).data))
        found.append((told, md.random.get_state()))
    np.testing.assert_array_equal(found[1][0], found[0][0])
    assert found[0][1] == found[1][1]


def test_an_argument_that_wants_a_gradient():
    compiled = md.compile(lambda x: MODEL(x))
    x = md.from_numpy(X[0], requires_grad=True)
    with pytest.raises(CaptureError, match="an argument requires a gradient"):
        compiled(x)
    with md.no_grad():
        np.testing.assert_array_equal(compiled(x).data, MODEL(x).data)
    np.testing.assert_array_equal(compiled(x.detach()).data, MODEL(x).data)


def test_arguments_that_are_no_values():
    with pytest.raises(CaptureError, match="takes arrays, tensors and plain values, got a set"):
        md.compile(lambda x, more: MODEL(x))(X[0], {1, 2})


def test_a_shape_that_numbers_decide():
    """A mask with more in it than when it was recorded: said, not computed wrongly."""
    compiled = md.compile(lambda x, mask: MODEL(x)[mask].sum())
    masks = [np.array([True, True, False, False]), np.array([False, True, True, False])]
    for x, mask in zip(X, [*masks, *masks]):
        np.testing.assert_array_equal(compiled(x, mask).data, MODEL(x)[mask].sum().data)
    with pytest.raises(CaptureError, match=r"getitem made an array of shape \(3, 2\)"):
        compiled(X[0], np.array([True, True, True, False]))


def test_refused_in_a_replay_of_other_numbers():
    """The first op that is wrong is named."""
    tables = iter(X)

    class Odd:
        """A number that NumPy computes anew in each call."""

        def __call__(self):
            return next(tables)

    odd = Odd()
    compiled = md.compile(lambda x: ops.tanh(MODEL(x) + odd()[:, :2]))
    compiled(X[0])
    with pytest.raises(CaptureError, match="it doesn't compute its results, first seen after add"):
        compiled(X[1])
