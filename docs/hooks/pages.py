"""MkDocs' hook: pages that are made, links to the repository's files, a check at the end.

A page is made for each public module, of its docstrings, and for each chapter in course/;
benchmarks/README.md is one as it stands.
"""

from pathlib import Path

import api
import chapters
import links
import loads
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]


def on_config(config):
    """Give the generated pages their places in the navigation."""
    made = {"API": api.navigation(), "Course": chapters.navigation(ROOT / "course")}
    config.nav = [
        {title: made.get(title, part)} for each in config.nav for title, part in each.items()
        if made.get(title, part)
    ]  # fmt: skip
    return config


def on_files(files, config):
    """Add the pages that are made, not written."""
    pages = {
        **api.pages(),
        **chapters.pages(ROOT / "course"),
        "benchmarking.md": (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8"),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links to the repository's files into links to their pages, or into plain text."""
    name = page.file.src_uri
    return links.on_site(markdown, name, {file.src_uri for file in files})


def on_post_build(config):
    """Fail if a page would load something from elsewhere: the site is read without a network."""
    found = []
    for path in Path(config.site_dir).rglob("*.*"):
        if path.suffix in (".html", ".css"):
            found += [f"{path}: {url}" for url in loads.loaded(path.read_text(encoding="utf-8"))]
    if found:
        raise PluginError("pages load from the network: " + ", ".join(found))
