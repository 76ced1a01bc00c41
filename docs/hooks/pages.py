"""MkDocs' hook: pages of the API and the course, links to the repository's files, a check at the end.

Pages are made, one for each public module, made of its docstrings, one for each chapter
in course/, and benchmarks/README.md.
"""

import re
from pathlib import Path

import api
import chapters
import links
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
            found += [f"{path}: {url}" for url in loaded(path.read_text(encoding="utf-8"))]
    if found:
        raise PluginError("pages load from the network: " + ", ".join(found))


def loaded(text: str) -> list[str]:
    """Return the addresses from which a page or a style sheet loads scripts, styles, images, fonts."""
    tags = re.findall(r"<(?:script|img|iframe|source|link|video|audio)\b[^>]*>", text)
    urls = [
        url for tag in tags if 'rel="canonical"' not in tag
        for url in re.findall(r'(?:src|href|srcset)="?((?:https?:)?//[^"\s>]+)', tag)
    ]  # fmt: skip
    return urls + re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)", text)
