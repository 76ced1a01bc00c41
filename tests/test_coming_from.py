"""Every line of the tables in docs/from_pytorch.md and docs/from_keras.md runs."""

import contextlib
import io

import pytest
from coming_from import lines, run
from test_docs import blocks, page

LINES = {("from_pytorch.md", "PyTorch"): 40, ("from_keras.md", "Keras"): 25}


@pytest.mark.parametrize(("name", "library"), LINES)
def test_every_line_runs(name, library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, names = lines(name, library), {}
    assert len(found) >= LINES[name, library]
    rows = [row for row in page(name).splitlines() if row.startswith("| `")]
    assert len(rows) == len(found)  # none is passed over
    exec(blocks(page(name), "python")[1], names)
    with contextlib.redirect_stdout(io.StringIO()):
        for line in found:
            run(line.here, names)


def test_a_wrong_line_would_be_seen():
    with pytest.raises(AttributeError, match=r"use \.reshape"):
        run("x = md.tensor([1.0]); x.view(1)", {"md": __import__("minidl")})
