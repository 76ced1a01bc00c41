"""Both sides of each line of docs/from_pytorch.md and docs/from_keras.md, on the same numbers."""

import contextlib
import importlib
import io
import os

import numpy as np
import pytest
from coming_from import assert_same, lines, numbers, run
from test_docs import blocks, page

COMPARED = {("from_pytorch.md", "PyTorch", "torch"): 45, ("from_keras.md", "Keras", "keras"): 15}


@pytest.mark.filterwarnings("ignore")  # those of the other library
@pytest.mark.parametrize(("name", "library", "package"), COMPARED)
def test_both_sides_agree(name, library, package, tmp_path, monkeypatch):
    os.environ["KERAS_BACKEND"] = "torch"
    for needed in ("torch", package):
        pytest.importorskip(needed, reason=f"needs {library}: pip install 'minidl[oracle]'")
    importlib.import_module("torch").set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    _, ours, theirs = blocks(page(name), "python")
    here, there = {}, {}
    exec(ours, here)
    there.update({n: value for n, value in here.items() if isinstance(value, np.ndarray)})
    exec(theirs, there)
    compared = 0
    with contextlib.redirect_stdout(io.StringIO()):
        for line in lines(name, library):
            pair = numbers(run(line.there, there)), numbers(run(line.here, here))
            if all(value is not None for value in pair):
                assert_same(*pair, line, channels_first=library == "PyTorch")
                compared += 1
    assert compared >= COMPARED[name, library, package]


def test_numbers_that_differ_would_be_seen():
    line = lines("from_keras.md", "Keras")[0]
    with pytest.raises(AssertionError):
        assert_same(np.ones(3), np.full(3, 1.001), line, False)
    with pytest.raises(AssertionError):
        assert_same(np.ones(3), np.ones(2), line, False)
    square = np.arange(16.0).reshape(1, 2, 2, 4)
    with pytest.raises(AssertionError):
        assert_same(square, square, line, True)
