"""`md.profile`: what ran is told, once each, and the times add up."""

import json
import threading

import numpy as np
import pytest
from each import of_each
from op_cases import cases

import minidl as md
from minidl import data, nn, optim
from minidl.autograd import primitive
from minidl.errors import StateError

ROWS, INPUTS, OUTPUTS = 6, 20, 10


class Training:
    def __init__(self):
        md.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(INPUTS, OUTPUTS), nn.Tanh(), nn.Linear(OUTPUTS, 3))
        self.optimizer = optim.SGD(self.model.parameters(), lr=0.1)
        random = np.random.default_rng(0)
        self.x = random.standard_normal((ROWS, INPUTS)).astype(np.float32)

    def step(self):
        self.optimizer.zero_grad()
        loss = (self.model(self.x) ** 2).mean()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def test_what_a_step_runs():
    training = Training()
    with md.profile() as found:
        training.step()
    rows = {(row.name, row.kind): row for row in found.rows()}
    linear = rows["linear", "forward"]
    assert linear.calls == 2
    # a product of (N, in) and (in, out): a multiplication and an addition for each; and the bias
    products = 2 * ROWS * (INPUTS * OUTPUTS + OUTPUTS * 3)
    assert products <= linear.flops <= products + ROWS * (OUTPUTS + 3)
    x, w, b, y = ROWS * INPUTS, INPUTS * OUTPUTS, OUTPUTS, ROWS * OUTPUTS
    x2, w2, b2, y2 = ROWS * OUTPUTS, OUTPUTS * 3, 3, ROWS * 3
    assert linear.bytes == 4 * (x + w + b + y + x2 + w2 + b2 + y2)
    assert rows["linear_weight_grad", "backward"].calls == 2
    assert rows["matmul", "backward"].calls == 1  # the first layer needs no input gradient
    assert rows["tanh", "backward"].calls == 1
    assert rows["SGD", "optimizer"].calls == 1
    assert not any(row.name == "tanh" and row.kind == "optimizer" for row in found.rows())


def test_all_of_a_gradient_is_backward():
    """Also undoing a broadcast, and the composition that a fused op stands for."""
    x = md.tensor(np.ones((4, 3), np.float32), requires_grad=True)
    bias = md.tensor(np.ones(3, np.float32), requires_grad=True)
    model = nn.Linear(3, 2, activation="relu")
    loss = (model(x * bias) ** 2).sum()
    for create_graph in (False, True):
        with md.profile() as found:
            md.grad(loss, [x, bias], retain_graph=True, create_graph=create_graph)
        assert {event.kind for event in found.events} == {"backward"}
        assert "sum_to" in {event.name for event in found.events}


def test_an_op_that_returns_a_number():
    @primitive(flops=lambda output, x: x.size + output.size)
    def total(x):
        """Return the sum."""
        return float(x.sum())

    with md.profile() as found:
        total(np.ones(3))
    assert [event.flops for event in found.events] == [4]


def test_times_add_up():
    training = Training()
    with md.profile() as found:
        for _ in range(3):
            training.step()
    assert sum(row.seconds for row in found.rows()) == pytest.approx(found.seconds)
    events = found.events
    assert [e.start for e in events] == sorted(e.start for e in events)
    assert all(0 <= e.own <= e.seconds for e in events)
    assert all(e.start + e.seconds <= found.seconds for e in events)


def test_nothing_else_is_changed():
    plain, profiled = Training(), Training()
    losses = [plain.step() for _ in range(3)]
    with md.profile():
        again = [profiled.step() for _ in range(3)]
    assert losses == again
    for name, array in plain.model.state_dict().items():
        np.testing.assert_array_equal(profiled.model.state_dict()[name], array)


def test_a_loader_and_a_compiled_function():
    training = Training()
    compiled = md.compile(lambda x: training.model(x) * 2)
    for _ in range(3):
        compiled(training.x)
    loader = data.DataLoader(data.ArrayDataset(training.x, np.arange(ROWS)), 2)
    with md.profile() as found:
        for x, _ in loader:
            training.model(x)
        compiled(training.x)
    calls = {(row.name, row.kind): row.calls for row in found.rows()}
    assert calls["DataLoader", "data"] == 3
    assert calls["<lambda>", "replay"] == 1
    assert calls["linear", "forward"] == 2 * 3


def test_a_replayed_step_is_one_event():
    """Also where some of its gradient rules run in Python."""
    training = Training()
    step = md.compile(
        lambda x: md.grad((training.model(x) ** 2).mean(), [*training.model.parameters()])
    )
    for _ in range(3):
        step(training.x)
    with md.profile() as found:
        step(training.x)
        md.ops.exp(training.x)
    assert [event.kind for event in found.events] == ["replay", "forward"]


def test_other_threads_are_not_told_of():
    training = Training()
    with md.profile() as found:
        thread = threading.Thread(target=training.step)
        thread.start()
        thread.join()
    assert found.events == []
    assert [row.name for row in found.rows()] == ["between them"]


def test_an_error_ends_the_profile():
    def fails():
        with md.profile() as found:
            md.ops.exp(md.tensor([1.0]))
            try:
                md.ops.matmul(md.tensor([1.0]), md.tensor([1.0, 2.0]))
            finally:
                kept.append(found)

    kept = []
    with pytest.raises(ValueError, match="matmul"):
        fails()
    assert kept[0].events[0].name == "exp"
    with md.profile() as found:
        md.ops.exp(md.tensor([1.0]))
    assert len(found.events) == 1


def test_one_profile_at_a_time_and_once():
    with (
        md.profile() as found,
        pytest.raises(StateError, match="profiled already: end that one first"),
        md.profile(),
    ):
        pass
    with pytest.raises(StateError, match="taken once: make another"), found:
        pass
    with pytest.raises(StateError, match="nothing was profiled"):
        md.profile().table()


def test_as_a_table_and_a_timeline(tmp_path):
    training = Training()
    with md.profile() as found:
        training.step()
    lines = str(found).splitlines()
    assert lines[0].endswith(f" ms, {len(found.events)} events")
    assert lines[2].split() == (
        ["op", "pass", "calls", "ms", "share", "GFLOP", "GFLOP/s", "of", "a", "product", "MB"]
    )  # fmt: skip
    assert lines[-1].split()[0] == "all"
    assert "<th" in found._repr_html_()
    found.save(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {e["ph"] for e in events} == {"X"}
    assert [e["name"] for e in events] == [e.name for e in found.events]
    first = next(e for e in events if e["name"] == "linear")
    assert first["args"]["shape"] == [ROWS, OUTPUTS]


@of_each(cases(np.float64), "name")
def test_flops_and_bytes_are_those_of_the_arrays(case):
    """They are worked out after the step, from shapes and dtypes: no formula may read numbers."""
    expected = []

    def told(op, arrays, settings, output):
        outputs = output if isinstance(output, tuple) else (output,)
        size = sum(x.nbytes for x in (*arrays, *outputs) if isinstance(x, np.ndarray))
        expected.append((op.flops(output, *arrays, **settings), size))

    with md.register_op_hook(told), md.profile() as found:
        case.outputs(case.sample.inputs)
    assert sorted((e.flops, e.bytes) for e in found.events if e.kind == "forward") == sorted(
        expected
    )
