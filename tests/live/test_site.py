"""The site, built strictly: public names, search, and that nothing is wider than a phone."""

import html
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from site_hooks import hook

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("mkdocs", reason="needs MkDocs: pip install 'minidl[docs]'")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"^WARNING", done.stderr, re.M)
    return folder


def printed(page, *flags):
    """What headless Chromium makes of a page."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"needs Chromium on the PATH, as one of {', '.join(names)}")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--window-size=1280,900", "--virtual-time-budget=20000", "--dump-dom", *flags, page,
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_every_public_name_has_its_place(site):
    api = hook("api")
    names = api.modules()
    assert {"minidl", "minidl.nn", "minidl.optim.lr_scheduler", "minidl.testing"} <= {*names}
    for name in names:
        page = site / api.page_of(name).replace(".md", ".html")
        anchors = set(re.findall(r'id="([^"]+)"', page.read_text(encoding="utf-8")))
        module = importlib.import_module(name)
        parts = [n for n in module.__all__ if not n.startswith("__")]
        lost = [n for n in parts if not isinstance(getattr(module, n), ModuleType)
                and f"{name}.{n}" not in anchors]  # fmt: skip
        assert lost == [], name


def test_docstrings_stand_on_it_as_they_are(site):
    text = (site / "api" / "nn.html").read_text(encoding="utf-8")
    plain = html.unescape(re.sub(r"<[^>]+>", "", text))
    assert "(..., in_features) -> (..., out_features)" in plain
    assert "in_features" in plain.split("Linear(")[1][:100]  # the signature


def test_all_chapters_are_on_it(site):
    chapters = sorted((ROOT / "course").glob("[0-9][0-9]_*.py"))
    for chapter in chapters:
        text = (site / "course" / f"{chapter.stem}.html").read_text(encoding="utf-8")
        assert "<h1" in text
        prose = re.sub(r"<(pre|code).*?</\1>", "", text, flags=re.S)
        assert not re.search(r"\$[^$<]*\\[a-z]+", prose)  # no formula is left as it was


def test_search_needs_no_server(site):
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    documents = json.loads(index.split("=", 1)[1])["docs"]
    assert len(documents) > 500
    dom = printed(f"{(site / 'index.html').as_uri()}?q=cosine+annealing")
    found = re.findall(r'<a href="([^"]+)"[^>]*class="md-search-result__link"', dom)
    assert any("optim.lr_scheduler.html" in url for url in found)


def test_no_page_is_wider_than_a_phone(site):
    """In frames of 400 pixels, as no window is, and without scripts, which take long."""
    pages = sorted(path for path in site.rglob("*.html") if path.name != "404.html")
    assert len(pages) > 40
    frames = "".join(
        f"<iframe sandbox=allow-same-origin style='width: 400px; border: 0' src='{page.as_uri()}'>"
        "</iframe>"
        for page in pages
    )
    frames += """<script>
        const wide = (f) => f.contentDocument.querySelector('.md-main').scrollWidth
        const frames = document.getElementsByTagName('iframe')
        onload = () => { document.title = [...frames].map(wide).join(' ') }
    </script>"""
    (site.parent / "frames.html").write_text(f"<title>none</title>{frames}")
    dom = printed((site.parent / "frames.html").as_uri(), "--allow-file-access-from-files")
    widths = [int(n) for n in re.search(r"<title>([ \d]+)</title>", dom)[1].split()]
    assert len(widths) == len(pages)
    assert [page.name for page, width in zip(pages, widths) if width > 400] == []


def test_docstrings_keep_their_marks():
    text = "One line.\n\nx: (*shape, n).\nReturns x[i][j], `a*b`.\n\n    code[1]\n"
    assert hook("docstrings").as_markdown(text) == (
        "One line.\n\nx: (\\*shape, n).  \nReturns x\\[i\\]\\[j\\], `a*b`.\n\n    code[1]"
    )
