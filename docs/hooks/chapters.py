"""The pages of the course: its chapters are scripts whose cells begin with # %%.

They are run for their figures and what they print where the environment variable MINIDL_COURSE is
"run"; without it, only text and code are shown.
"""

import ast
import contextlib
import io
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from formulas import with_formulas


class Made(NamedTuple):
    """What a cell of code prints, shows as a notebook would, and draws."""

    printed: str
    shown: str
    figures: list[bytes]


class Cell(NamedTuple):
    kind: str  # "markdown" or "python"
    text: str


def scripts(folder: Path) -> list[Path]:
    """Return the chapters in their order: 01_tape.py, ..."""
    return sorted(folder.glob("[0-9][0-9]_*.py"))


def cells(script: str) -> list[Cell]:
    """Return the cells of a script in jupytext's percent format, without its header."""
    found = []
    for head, body in re.findall(r"^# %%(.*)\n((?:(?!# %%).*\n?)*)", script, re.M):
        text = body.strip("\n")
        if "[markdown]" in head:
            lines = [re.sub(r"^# ?", "", line) for line in text.splitlines()]
            found.append(Cell("markdown", "\n".join(lines).strip('"\n')))
        elif text:
            found.append(Cell("python", text))
    return found


def navigation(folder: Path) -> list[Any]:
    """Return the course's part of MkDocs' `nav`."""
    if not scripts(folder):
        return []
    overview = ["course/index.md"] if (folder / "README.md").exists() else []
    return [*overview, *(f"course/{path.stem}.md" for path in scripts(folder))]


def pages(folder: Path) -> dict[str, str | bytes]:
    """Return the Markdown of each page, and the figures, by their address."""
    found: dict[str, str | bytes] = {}
    if navigation(folder)[:1] == ["course/index.md"]:
        found["course/index.md"] = (folder / "README.md").read_text(encoding="utf-8")
    for path in scripts(folder):
        parts = cells(path.read_text(encoding="utf-8"))
        made = executed(parts, path.stem) if os.environ.get("MINIDL_COURSE") == "run" else {}
        text = ""
        for number, cell in enumerate(parts):
            if cell.kind == "markdown":
                text += f"{with_formulas(cell.text)}\n\n"
                continue
            text += f"```python\n{cell.text}\n```\n\n"
            printed, shown, figures = made.get(number, Made("", "", []))
            text += f"```text\n{printed.rstrip()}\n```\n\n" if printed.strip() else ""
            text += f'<div class="shown">{shown}</div>\n\n' if shown else ""
            for k, figure in enumerate(figures):
                name = f"{path.stem}_{number}_{k}.png"
                found[f"course/{name}"] = figure
                text += f"![What the code above draws]({name})\n\n"
        found[f"course/{path.stem}.md"] = text
    return found


def executed(parts: list[Cell], name: str) -> dict[int, Made]:
    """Run the code of a chapter; return what each cell prints and draws, by its number."""
    import matplotlib

    matplotlib.use("agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    root = str(Path(__file__).resolve().parents[2])
    found = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        sys.path.insert(0, root)  # course.checks
        try:
            for number, cell in enumerate(parts):
                if cell.kind == "python":
                    found[number] = _run(cell.text, f"{name}, cell {number}", names)
        finally:
            sys.path.remove(root)
    return found


def _run(code: str, where: str, names: dict[str, Any]) -> Made:
    """Run one cell as a notebook does, which shows the value of a last expression."""
    from matplotlib import pyplot

    *statements, last = ast.parse(code).body
    if not isinstance(last, ast.Expr):
        statements.append(last)
    out, shown = io.StringIO(), ""
    with contextlib.redirect_stdout(out), warnings.catch_warnings(action="ignore"):
        exec(compile(ast.Module(statements, []), where, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), names)
            if hasattr(value, "_repr_html_"):
                shown = value._repr_html_()
            elif value is not None:
                print(repr(value))
    figures = []
    for number in pyplot.get_fignums():
        picture = io.BytesIO()
        pyplot.figure(number).savefig(picture, dpi=100, bbox_inches="tight")
        figures.append(picture.getvalue())
    pyplot.close("all")
    return Made(out.getvalue(), shown, figures)
