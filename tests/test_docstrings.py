"""Every public name says what it takes and gives, what it refuses, and where it is from.

What must be said is read from the code: `docstrings.py` tells how. What a function raises through
others that it calls isn't seen; a docstring may say it all the same.
"""

import re

import docstrings
import pytest
from docstrings import EXEMPT, SHAPE, YEAR, Name, has_formula, names, takes_arrays, untold

MODULES = sorted({name.path.rsplit(".", 1 + (name.owner is not None))[0] for name in names()})
# Emphasis, tags: what Markdown would make of stars, underscores and angle brackets.
MARKUP = re.compile(r"\*[^\s*](?:[^*\n]*[^\s*])?\*|</?[a-zA-Z!]|(?<!\w)_[^\s_][^_\n]*_(?!\w)")
VERBATIM = re.compile(r"`[^`]*`|(?m:^    .*$)")


def of(module):
    return [n for n in names() if n.path.rsplit(".", 1 + (n.owner is not None))[0] == module]


def test_all_modules_are_walked():
    assert len(MODULES) > 25
    assert len(names()) > 950


@pytest.mark.parametrize("module", MODULES)
def test_the_first_line_is_a_sentence(module):
    bad = [(n.path, n.first) for n in of(module) if not n.first.endswith((".", ".`"))]
    assert not bad, "a docstring whose first line is a sentence that ends in a full stop"


@pytest.mark.parametrize("module", MODULES)
def test_arrays_have_shapes(module):
    bad = [n.path for n in of(module) if takes_arrays(n) and not SHAPE.search(n.told)]
    assert not bad, "shapes with names of axes, such as (N, H, W, C), or a unit"


@pytest.mark.parametrize("module", MODULES)
def test_errors_are_told(module):
    bad = {n.path: sorted(untold(n)) for n in of(module) if untold(n)}
    assert not bad, "Raises SuchError for ..., or Raises as `another` does"


@pytest.mark.parametrize("module", MODULES)
def test_formulas_have_a_source(module):
    bad = [n.path for n in of(module) if has_formula(n) and not YEAR.search(n.doc)]
    assert not bad, "Source: author year, title, equation; or a reason in WITHOUT_SOURCE"


@pytest.mark.parametrize("module", MODULES)
def test_it_reads_as_markdown(module):
    found = [(n.path, MARKUP.search(VERBATIM.sub("", n.doc))) for n in of(module)]
    assert not [(path, match.group()) for path, match in found if match], "put it in backticks"


def test_exemptions_are_of_names_without_a_source():
    last = {n.path.rpartition(".")[2]: n for n in names() if n.owner is None}
    assert not [name for name in EXEMPT if name not in last]
    assert not [name for name in EXEMPT if "Source:" in last[name].doc]


def example(x):
    """Return x.

    Raises ValueError for others.
    """
    if not x:
        raise ValueError("x")
    try:
        raise KeyError("x")
    except TypeError as error:
        raise TypeError("x") from error


def test_what_is_raised_is_read_from_the_code():
    name = Name("docstrings.example", example)
    assert docstrings.raised(name) == {"ValueError", "TypeError"}
    assert untold(name) == {"TypeError"}


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("x: (N, H, W, C).", True),
        ("labels (N,).", True),
        ("(..., in) -> (..., out).", True),
        ("(N, H * r, W * r, C)", True),
        ("x: of any shape.", True),
        ("Return it (or not).", False),
        ("A table.", False),
    ],
)
def test_shapes_are_known(text, is_one):
    assert bool(SHAPE.search(text)) is is_one
