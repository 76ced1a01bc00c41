"""Code in docstrings, which stands on the site's pages of the API, runs."""

import ast
import re
import textwrap

import numpy as np
import pytest
from docstrings import MODULES, names

import minidl as md
from minidl import nn, optim, testing

# Of formulas that happen to be Python, not to be run
FORMULAS = {
    "minidl.nn.functional.binary_cross_entropy_with_logits",
    "minidl.nn.functional.kl_div",
    "minidl.nn.functional.sigmoid_focal_loss",
}


def blocks(text):
    """The indented blocks that Markdown shows as code and Python can read."""
    for found in re.findall(r"(?<=\n\n)((?: {4}.*\n?|\n(?= {4}))+)", text):
        code = textwrap.dedent(found)
        try:
            ast.parse(code)
        except SyntaxError:
            continue
        yield code


def examples():
    """(path, code) of every docstring that has some."""
    modules = ((path, __import__(path, fromlist=["*"]).__doc__ or "") for path in MODULES)
    documented = (*modules, *((name.path, name.doc) for name in names()))
    return [(path, code) for path, text in documented for code in blocks(text)]


def surroundings():
    """What the examples call by names that they don't make."""
    md.manual_seed(0)
    model = nn.Linear(4, 3)
    x = md.tensor(np.ones(3, np.float32), requires_grad=True)
    return {
        "md": md, "nn": nn, "optim": optim, "model": model, "x": x, "f": lambda x: (x * x).sum(),
        "optimizer": optim.SGD(model.parameters(), lr=0.1), "loss_function": nn.CrossEntropyLoss(),
        "step": lambda x, y: x * y, "y": x, "array": np.ones(3, np.float32),
        "gradchecks": testing.gradchecks,
    }  # fmt: skip


EXAMPLES = [case for case in examples() if case[0] not in FORMULAS]


@pytest.mark.parametrize(("path", "code"), EXAMPLES, ids=[path for path, _ in EXAMPLES])
def test_it_runs(path, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = surroundings()
    exec(compile(code, path, "exec"), given)
    if path == "minidl.compile":
        before = given["model"].weight.data.copy()
        given["step"](np.ones((5, 4), np.float32), np.zeros(5, np.int64))
        assert (given["model"].weight.data != before).any()
    if path == "minidl.testing.gradchecks":
        (mark,) = given["test_product"].pytestmark
        for case in mark.args[1]:
            given["test_product"](getattr(case, "values", [case])[0])
    if path == "minidl.optim.LBFGS":
        np.testing.assert_allclose(given["x"].data, 0, atol=1e-6)


def test_examples_are_found():
    found = {path for path, _ in examples()}
    assert found >= {"minidl.compile", "minidl.nn.Module", "minidl.optim.LBFGS", *FORMULAS}
