"""Griffe's extension: docstrings are plain text, which Markdown must not take for its own marks."""

import re

from griffe import Extension

# A line that begins with an argument's name and a colon, or with what a call returns or raises.
OPENING = re.compile(r"^(?:[a-z_][\w*]*(?:, [a-z_*]\w*)*: |Returns? |Raises? |Shapes?: |Source)")
PAGE = re.compile(r"docs/(\w+\.md)")  # which becomes a link, from a page of the API
MARKS = re.compile(r"(?=[*_\[\]<>#|~])")


class Docstrings(Extension):
    """Turn the docstrings of all objects into Markdown."""

    def on_instance(self, *, obj, **_):
        """Rewrite one object's docstring as it is collected."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Return a docstring as Markdown: marks outside of code are escaped, arguments begin lines.

    Indented lines after an empty one are code, as Markdown has it, and stay.
    """
    lines: list[str] = []
    code = False
    for line in text.splitlines():
        if line.strip():
            code = line.startswith("    ") and (code or not lines or not lines[-1].strip())
        if code or not line.strip():
            lines.append(line)
            continue
        if OPENING.match(line) and lines and lines[-1].strip():
            lines[-1] += "  "  # Markdown's line break
        lines.append(line)
    return escaped("\n".join(lines))


def escaped(text: str) -> str:
    """Return a text with Markdown's marks escaped, but for code spans and indented blocks."""
    parts = re.split(r"(`[^`]*`|(?:^ {4}.*(?:\n|$))+)", text, flags=re.M)
    parts[::2] = [PAGE.sub(r"[\g<0>](../\1)", MARKS.sub(r"\\", part)) for part in parts[::2]]
    return "".join(parts)
