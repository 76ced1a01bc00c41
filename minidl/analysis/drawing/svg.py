"""A network's graph as SVG."""

from html import escape
from itertools import pairwise

from minidl.analysis.drawing.frames import LABEL
from minidl.analysis.drawing.labels import (
    FAMILIES,
    family,
    fitted,
    heading,
    shape_text,
    text_width,
    tooltip,
    totals,
    visible,
)
from minidl.analysis.drawing.layout import BOX_HEIGHT, Frame, Layout, Point, Route, layout
from minidl.analysis.trace import Node

__all__ = ["FONT", "STYLE", "drawing", "families_of", "number", "to_svg"]

HEADER = 78.0  # the height of title, totals and legend

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
_LIGHT = {"paper": "#ffffff", "ink": "#1c2128", "faint": "#59636e", "edge": "#79838e",
          "frame": "#8c99a6"}  # fmt: skip
_DARK = {"paper": "#0f1318", "ink": "#e8ebef", "faint": "#9aa5b1", "edge": "#87919c",
         "frame": "#8b98a5"}  # fmt: skip


def _colours(mode: dict[str, str], which: int) -> str:
    """The rules of one mode: of _LIGHT with the families' first colours or _DARK, the second."""
    rules = [
        f".graph .paper {{ fill: {mode['paper']} }}",
        f".graph text {{ fill: {mode['ink']} }}",
        f".graph .faint, .graph .frame text {{ fill: {mode['faint']} }}",
        f".graph .edge {{ stroke: {mode['edge']} }}",
        f".graph .tip {{ fill: {mode['edge']} }}",
        f".graph .frame rect {{ fill: {mode['frame']}; stroke: {mode['frame']} }}",
        f".graph .node:hover .edge {{ stroke: {mode['ink']} }}",
        f".graph .node:hover .tip {{ fill: {mode['ink']} }}",
    ]
    for name, colours in FAMILIES.items():
        fill, line = colours[which]
        rules.append(f".graph .{name} rect {{ fill: {fill}; stroke: {line} }}")
    return "\n".join(rules)


# Plain colours rather than variables: programs that convert SVG to PDF know no variables.
STYLE = f"""
.graph {{ font: 12px {FONT} }}
.graph text {{ text-anchor: middle }}
.graph .start, .graph .frame text {{ text-anchor: start }}
.graph .title {{ font-size: 18px; font-weight: 600 }}
.graph .kind {{ font-weight: 600 }}
.graph .edge {{ fill: none; stroke-width: 1.2 }}
.graph .node:hover .edge {{ stroke-width: 2.4 }}
.graph .frame rect {{ fill-opacity: .09; stroke-opacity: .3 }}
.graph .frame text {{ font-size: 10.5px }}
{_colours(_LIGHT, 0)}
@media (prefers-color-scheme: dark) {{
{_colours(_DARK, 1)}
}}
"""


def number(value: float) -> str:
    """Return a coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def _rectangle(x: float, y: float, width: float, height: float, radius: float) -> str:
    left, top, wide, tall = map(number, (x, y, width, height))
    return f'<rect x="{left}" y="{top}" width="{wide}" height="{tall}" rx="{radius:g}"/>'


def _text(x: float, y: float, content: str, kind: str = "") -> str:
    """content: as markup, escaped already."""
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{number(x)}" y="{number(y)}"{of_kind}>{content}</text>'


def families_of(nodes: list[Node]) -> list[str]:
    """Return the families that a network has, for the legend."""
    found = {family(node) for node in nodes}
    return [name for name in FAMILIES if name in found]


def _box(node: Node, centre: Point, width: float) -> str:
    x, y = centre
    kind, detail = heading(node)
    room = width - 12
    line = fitted(f"{kind} {detail}".rstrip(), 12, room)
    kind, detail = line[: len(kind)], line[len(kind) :]
    return "\n".join([
        _rectangle(x - width / 2, y - BOX_HEIGHT / 2, width, BOX_HEIGHT, 7),
        _text(x, y - 4, f'<tspan class="kind">{escape(kind)}</tspan>{escape(detail)}'),
        _text(x, y + 12, escape(fitted(shape_text(node.shape), 12, room)), "faint"),
    ])  # fmt: skip


def _curve(start: Point, end: Point) -> str:
    """A line upright at both ends."""
    (x, y), (to_x, to_y) = start, end
    if x == to_x:
        return f"V{number(to_y)}"
    begin, half, end_x, end_y = map(number, (x, (y + to_y) / 2, to_x, to_y))
    return f"C{begin} {half} {end_x} {half} {end_x} {end_y}"


def _edges(routes: list[Route], heads: dict[int, float]) -> str:
    """Return the edges from one node: where they run together they're one line."""
    ends: dict[tuple[Point, float], Point] = {}  # by start and direction
    for route in routes:
        for start, end in pairwise(route.points):
            key = (start, end[0])
            ends[key] = max(end, ends.get(key, end))
    tips = {route.points[-1]: heads[route.target] for route in routes}
    lines, at = [], None
    for (start, _), end in ends.items():
        if start != at:
            lines.append(f"M{number(start[0])} {number(start[1])}")
        # a line ends within its arrow head
        lines.append(_curve(start, (end[0], end[1] - 4) if end in tips else end))
        at = end
    arrows = [
        f"M{number(x)} {number(y)}l-{number(half)} -6.5h{number(2 * half)}z"
        for (x, y), half in tips.items()
    ]
    return f'<path class="edge" d="{"".join(lines)}"/>\n<path class="tip" d="{"".join(arrows)}"/>'


def _heads(plan: Layout) -> dict[int, float]:
    """For each node half the width of the arrow heads at it: small where many edges end."""
    ends: dict[int, set[float]] = {}
    for route in plan.routes:
        ends.setdefault(route.target, set()).add(route.points[-1][0])
    heads = {}
    for target, xs in ends.items():
        places = sorted(xs)
        between = min((b - a for a, b in pairwise(places)), default=8.0)
        heads[target] = max(min(3.2, between / 2 - 0.5), 1.0)
    return heads


def _gaps(frame: Frame, routes: list[Route]) -> list[tuple[float, float]]:
    """Return the stretches of a frame's first line that no edge crosses, from left to right."""
    y = frame.y + LABEL / 2
    crossing = {
        start[0]
        for route in routes
        for start, end in pairwise(route.points)
        if start[1] < y < end[1] and frame.x < start[0] < frame.x + frame.width
    }
    stops = [frame.x, *sorted(crossing), frame.x + frame.width]
    return list(pairwise(stops))


def _frame(frame: Frame, routes: list[Route]) -> str:
    """Its label is as much of the name's end as fits where no edge passes."""
    parts = frame.name.split(".")
    names = [visible(".".join(parts[k:])) for k in range(len(parts))]
    gaps = _gaps(frame, routes)
    roomy = (gap for gap in gaps if gap[1] - gap[0] > max(36, text_width(names[-1], 10.5) + 12))
    left, right = next(roomy, max(gaps, key=lambda gap: gap[1] - gap[0]))
    room = right - left - 12
    name = next((n for n in names if text_width(n, 10.5) <= room), fitted(names[-1], 10.5, room))
    return "\n".join([
        '<g class="frame">',
        f"<title>{escape(visible(frame.name))}</title>",
        _rectangle(frame.x, frame.y, frame.width, frame.height, 9),
        _text(left + 7, frame.y + 12, escape(name)),
        "</g>",
    ])  # fmt: skip


def drawing(nodes: list[Node], plan: Layout) -> str:
    """Return the graph itself, as SVG elements for a root of class graph.

    A box and the edges that leave it are one element, to be pointed at and to be found.
    """
    leaving: list[list[Route]] = [[] for _ in nodes]
    for route in plan.routes:
        leaving[route.source].append(route)
    heads = _heads(plan)
    parts = [_frame(frame, plan.routes) for frame in plan.frames]
    for node, centre, routes in zip(nodes, plan.centres, leaving):
        parts += [
            f'<g class="node {family(node)}" data-name="{escape(visible(node.name))}">',
            f"<title>{escape(tooltip(node))}</title>",
            *([_edges(routes, heads)] if routes else []),
            _box(node, centre, plan.box_width),
            "</g>",
        ]
    return "\n".join(parts)


def _header(nodes: list[Node], title: str, about: str, width: float) -> str:
    parts = [
        _text(14, 28, escape(fitted(visible(title), 18, width - 28)), "title start"),
        _text(14, 47, escape(about), "faint start"),
    ]
    x = 14.0
    for name in families_of(nodes):
        parts.append(f'<g class="{name}">{_rectangle(x, 58, 12, 12, 3)}</g>')
        parts.append(_text(x + 17, 68, name, "start"))
        x += 17 + text_width(name, 12) + 14
    return "\n".join(parts)


def to_svg(nodes: list[Node], title: str, about: str | None = None) -> str:
    """One SVG file: title, totals, a legend and the graph; light or dark as the reader's system.

    about: in place of the totals.  The same graph gives the same text.
    """
    plan = layout(nodes)
    about = totals(nodes) if about is None else about
    legend = sum(31 + text_width(name, 12) for name in families_of(nodes))
    width = max(plan.width, legend + 14, text_width(about, 12) + 28)
    height = plan.height + HEADER
    size = f'width="{number(width)}" height="{number(height)}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="img" {size} '
        f'viewBox="0 0 {number(width)} {number(height)}" aria-label="{escape(visible(title))}">',
        f"<style>{STYLE}</style>",
        '<rect class="paper" width="100%" height="100%"/>',
        _header(nodes, title, about, width),
        f'<g transform="translate({number((width - plan.width) / 2)} {number(HEADER)})">',
        drawing(nodes, plan),
        "</g>",
        "</svg>",
        "",
    ])  # fmt: skip
