"""`analysis.draw_tape`: the graph of one expression, with what is known of its numbers."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import minidl as md
from minidl import analysis, nn
from minidl.errors import ArgumentError, DTypeError, GradError


def expression():
    """(tanh(x . w + b) - 1) ^ 2, with its leaves."""
    x = md.tensor([1.0, 2.0])
    w = md.tensor([0.5, -0.3], requires_grad=True)
    b = md.tensor(0.3, requires_grad=True)
    return (((x * w).sum() + b).tanh() - 1) ** 2, {"w": w, "b": b}


def texts(drawing):
    """The boxes' first lines."""
    root = ElementTree.fromstring(drawing.svg)
    space = "{http://www.w3.org/2000/svg}"
    groups = [g for g in root.iter(f"{space}g") if g.get("class", "").startswith("node")]
    return ["".join(g.find(f"{space}text").itertext()) for g in groups]


def test_boxes_of_an_expression():
    loss, names = expression()
    found = texts(analysis.draw_tape(loss, names=names))
    assert found == ["x", "w", "multiply", "sum", "b", "add", "tanh", "y", "subtract", "y", "power"]


def test_values_and_gradients():
    loss, names = expression()
    found = texts(analysis.draw_tape(loss, names=names, values=True, gradients=True))
    t = np.tanh(0.5 - 0.6 + 0.3)
    slope = 2 * (t - 1) * (1 - t * t)  # of the loss, for what goes into tanh
    assert f"w [0.5, -0.3], grad [{slope:.3g}, {2 * slope:.3g}]" in found
    assert f"b 0.3, grad {slope:.4g}" in found
    assert f"tanh {t:.4g}, grad {2 * (t - 1):.4g}" in found
    assert f"power {(t - 1) ** 2:.4g}, grad 1" in found
    loss.backward()  # its graph is still there
    np.testing.assert_allclose(names["b"].grad, slope, rtol=1e-6)


def test_a_model_names_its_parameters(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 4, 3, activation="relu"), nn.BatchNorm2d(4), nn.Flatten())
    loss = (model(np.ones((2, 8, 8, 1), np.float32)) ** 2).mean()
    path = tmp_path / "tape.svg"
    drawing = analysis.draw_tape(loss, path, names=model)
    assert path.read_text(encoding="utf-8") == drawing.svg == drawing._repr_html_()
    assert {"0.weight", "0.bias", "1.weight", "1.bias"} <= set(texts(drawing))
    assert repr(drawing) == f"<drawing of a tape with {drawing.nodes} nodes>"
    assert "3 \N{MULTIPLICATION SIGN} 3 \N{MULTIPLICATION SIGN} 1" in drawing.svg


def test_tensors_that_a_hook_hands_on():
    model = nn.Linear(3, 2)
    plain = texts(analysis.draw_tape(model(np.ones((4, 3), np.float32)).sum(), names=model))
    model.register_full_backward_hook(lambda module, inputs, outputs: None)
    loss = model(np.ones((4, 3), np.float32)).sum()
    found = analysis.draw_tape(loss, names=model, values=True, gradients=True)
    assert [text.split()[0] for text in texts(found)] == plain
    loss.backward()
    with pytest.raises(GradError, match="freed by backward"):
        analysis.draw_tape(loss)


def test_names_of_another_kind():
    loss, names = expression()
    with pytest.raises(DTypeError, match="names as a model or as tensors by name, got list"):
        analysis.draw_tape(loss, names=list(names.values()))


def test_ops_with_several_inputs_and_outputs():
    x = md.tensor(np.ones((2, 4), np.float32), requires_grad=True)
    first, second = md.ops.split(x, sections=2, axis=1)
    loss = md.cat(first * 2, second, axis=1).sum()
    found = texts(analysis.draw_tape(loss, gradients=True))
    assert found[0].startswith("leaf")
    assert re.fullmatch(r"sum grad 1", found[-1])


def test_what_has_no_tape():
    leaf = md.tensor([1.0], requires_grad=True)
    with pytest.raises(GradError, match="nothing was recorded"):
        analysis.draw_tape(leaf)
    with md.no_grad(), pytest.raises(GradError, match="nothing was recorded"):
        analysis.draw_tape(leaf * 2)
    with pytest.raises(DTypeError, match="expected a Tensor, got ndarray"):
        analysis.draw_tape(np.ones(1))
    loss = (leaf * 2).sum()
    with pytest.raises(ArgumentError, match=r"tape\.png must end in \.svg"):
        analysis.draw_tape(loss, "tape.png")
    loss.backward()
    with pytest.raises(GradError, match="freed by backward: draw it before"):
        analysis.draw_tape(loss)
