"""Links between files of the repository, as they must read on the site."""

import posixpath
import re

# Where a page was written that stands elsewhere on the site.
WRITTEN = {"benchmarking.md": "benchmarks/README.md", "course/index.md": "course/README.md"}

NAMED = r"(?<![\w/`\[])(?<!\]\()docs/(\w+\.md)(?![`\]])"  # in prose: no code, no link


def written_at(name: str) -> str:
    """Return the file in the repository that a page of the site was made of."""
    if name.startswith("course/") and name not in WRITTEN:
        return f"{name.removesuffix('.md')}.py"
    return WRITTEN.get(name, f"docs/{name}")


def on_site(markdown: str, name: str, pages: set[str]) -> str:
    """Return a page's Markdown whose links lead to pages of the site, or else are plain text.

    A link is relative to the file that the page was made of: in course/01_tape.py, `02_tensors.py`
    is the next chapter and `../docs/data.md` a page. A page that prose names, as chapters name
    docs/data.md, becomes a link. `pages` are the site's.
    """
    places = {written_at(page): page for page in pages}
    here = posixpath.dirname(written_at(name))

    def turned(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        if re.match(r"[a-z]+:", target) or not target:
            return link[0]
        place = places.get(posixpath.normpath(posixpath.join(here, target)))
        if place is None:
            return text
        way = posixpath.relpath(place, posixpath.dirname(name) or ".")
        return f"[{text}]({way}{anchor or ''})"

    def named(found: re.Match[str]) -> str:
        return f"[{found[0]}]({posixpath.relpath('docs', here or '.')}/{found[1]})"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.M | re.S)
    link = r"(?<!!)\[([^\[\]]+)\]\(([^)#\s]*)(#[^)\s]*)?\)"
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(link, turned, re.sub(NAMED, named, parts[i]))
    return "".join(parts)
