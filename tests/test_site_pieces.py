"""The pieces that the site's hook is made of: formulas, chapters, links, what a page loads."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from site_hooks import hook

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def formulas():
    return hook("formulas")


@pytest.fixture(scope="module")
def chapters(formulas):
    sys.modules["formulas"] = formulas
    yield hook("chapters")
    del sys.modules["formulas"]


def plain(markup):
    """A formula's elements in brackets: enough to see what belongs to what."""

    def told(node):
        inside = (node.text or "") + "".join(map(told, node))
        return inside if node.tag in ("mi", "mn", "mo", "mtext") else f"{node.tag}({inside})"

    return told(ElementTree.fromstring(markup))


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        ("x_i^2", "msubsup(xi2)"),
        (r"\frac12 a", "mfrac(12)a"),
        (r"\tfrac{h^2}{6} f''", "mfrac(mrow(msup(h2))mrow(6))msup(f\N{PRIME}\N{PRIME})"),
        (r"\sum_{i=1}^n w_i", "munderover(∑mrow(i=1)n)msub(wi)"),
        (r"\operatorname{E}[x] = 10.5", "E[x]=10.5"),
        (r"\left(\sqrt{x}\right)^L", "msup(mrow((msqrt(mrow(x))))L)"),
        (r"\sqrt[3]{\varepsilon}", "mroot(mrow(ε)mrow(3))"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}",
         "mrow(mtable(mtr(mtd(a)mtd(=b))mtr(mtd(c)mtd(=d))))"),
    ],
)  # fmt: skip
def test_formulas(formulas, tex, expected):
    assert plain(formulas.mathml(tex)) == f"math(mrow({expected}))"


@pytest.mark.parametrize("tex", [r"\unknown x", "{x", "x}", "x^2^3", r"\begin{tikz}x\end{tikz}"])
def test_a_formula_that_cannot_be_set_is_an_error(formulas, tex):
    with pytest.raises(ValueError, match="formula"):
        formulas.mathml(tex)


def test_formulas_are_found_outside_of_code(formulas):
    made = formulas.with_formulas("costs $5, `$x$`, $y$\n```\n$z$\n```\n$$a*b$$\n")
    assert made.count("<math") == 2
    assert "`$x$`" in made
    assert "```\n$z$\n```" in made
    assert "costs $5" in made
    assert 'display="block"' in made
    assert "*" not in made  # Markdown would take it for emphasis


CHAPTER = """# ---
# jupyter: {}
# ---

# %% [markdown]
# # 1. A title
#
# Some *text*.

# %%
x = 2
print("printed")
x + 1

# %%
class Table:
    def _repr_html_(self):
        return "<b>2</b>"


Table()

# %%
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.show()
"""


def test_cells_of_a_chapter(chapters):
    text, code, _, figure = chapters.cells(CHAPTER)
    assert text == ("markdown", "# 1. A title\n\nSome *text*.")
    assert code == ("python", 'x = 2\nprint("printed")\nx + 1')
    assert figure.kind == "python"


def test_a_chapter_becomes_a_page(chapters, tmp_path, monkeypatch):
    (tmp_path / "01_a.py").write_text(CHAPTER)
    (tmp_path / "check.py").write_text("")
    monkeypatch.delenv("MINIDL_COURSE", raising=False)
    (name,), (page,) = zip(*chapters.pages(tmp_path).items())
    assert chapters.navigation(tmp_path) == ["course/01_a.md"]
    assert name == "course/01_a.md"
    assert page.startswith("# 1. A title\n\nSome *text*.\n\n```python\nx = 2\n")
    monkeypatch.setenv("MINIDL_COURSE", "run")
    found = chapters.pages(tmp_path)
    assert "```text\nprinted\n3\n```" in found["course/01_a.md"]
    assert '<div class="shown"><b>2</b></div>' in found["course/01_a.md"]
    (figure,) = (content for name, content in found.items() if name.endswith(".png"))
    assert figure.startswith(b"\x89PNG")


def test_links_lead_to_pages_or_are_text():
    links = hook("links")
    pages = {"index.md", "data.md", "course/02_b.md", "course/index.md", "benchmarking.md"}
    text = "[a](02_b.py#x), [b](../docs/data.md), [c](../CONTRIBUTING.md), [d](https://e.org/)"
    assert links.on_site(text, "course/index.md", pages) == (
        "[a](02_b.md#x), [b](../data.md), c, [d](https://e.org/)"
    )
    assert links.on_site("[a](../benchmarks/README.md)", "data.md", pages) == "[a](benchmarking.md)"
    assert links.on_site("[a](#b) ![c](d.png)", "data.md", pages) == "[a](#b) ![c](d.png)"
    named = "It (docs/data.md) is in `docs/data.md`, and docs/lost.md isn't."
    assert links.on_site(named, "course/02_b.md", pages) == (
        "It ([docs/data.md](../data.md)) is in `docs/data.md`, and docs/lost.md isn't."
    )


def test_links_lead_to_files_in_the_repository():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "benchmarks" / "README.md"]
    pages += [*ROOT.glob("course/*.md"), *ROOT.glob("course/*.py")]
    lost = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([\w./-]+\.\w+)[#)]", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert lost == []


def test_what_a_page_loads_from_elsewhere_is_found():
    loads = hook("loads").loaded
    assert loads('<script src="https://a.org/x.js"></script>') == ["https://a.org/x.js"]
    assert loads('<link rel="stylesheet" href=//a.org/x.css>') == ["//a.org/x.css"]
    assert loads("a { background: url('http://a.org/x.png') }") == ["http://a.org/x.png"]
    assert loads('<a href="https://a.org/">there</a> <img src="b.png">') == []
