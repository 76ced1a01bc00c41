"""A network's graph as one HTML file that needs no others."""

from html import escape

from minidl.analysis.drawing.labels import FAMILIES, totals, visible
from minidl.analysis.drawing.layout import layout
from minidl.analysis.drawing.svg import FONT, STYLE, drawing, families_of, number
from minidl.analysis.trace import Node

__all__ = ["to_html"]

_STYLE = f"""
:root {{ color-scheme: light dark }}
body {{ margin: 0; font: 14px {FONT}; background: #ffffff; color: #1c2128 }}
header {{ position: sticky; top: 0; left: 0; z-index: 1; padding: 12px 20px; background: inherit;
  border-bottom: 1px solid #d5dae0; display: flex; flex-wrap: wrap; gap: 6px 20px;
  align-items: center }}
h1 {{ font-size: 19px; margin: 0; overflow-wrap: anywhere }}
header p {{ margin: 0; opacity: .75 }}
.tools {{ margin-left: auto; display: flex; gap: 6px; align-items: center }}
.tools input {{ font: inherit; width: 15em; padding: 4px 8px }}
.tools button {{ font: inherit; min-width: 2.2em; padding: 4px 8px }}
.legend {{ flex-basis: 100%; display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 12px }}
.legend span::before {{ content: ""; display: inline-block; width: 11px; height: 11px;
  margin-right: 6px; border: 1px solid var(--line); border-radius: 3px; background: var(--fill);
  vertical-align: -2px }}
main {{ overflow-x: auto; padding: 12px 0 40px }}
main svg {{ display: block; margin: 0 auto }}
.searched .node {{ opacity: .3 }}
.searched .node.found {{ opacity: 1 }}
.graph .found rect {{ stroke-width: 3 }}
@media (prefers-color-scheme: dark) {{
body {{ background: #0f1318; color: #e8ebef }}
header {{ border-color: #2b323b }}
}}
"""

_SCRIPT = """
const [svg, find, count] = ["svg", "input", "output"].map(tag => document.querySelector(tag));
const [width, height] = ["width", "height"].map(side => Number(svg.getAttribute(side)));
const nodes = [...svg.querySelectorAll(".node")], view = svg.parentNode;
let scale = 1, found = [], at = 0;
function zoom(to, x = innerWidth / 2, y = innerHeight / 2) {
  const before = svg.getBoundingClientRect(), old = scale;
  scale = Math.min(4, Math.max(0.05, to));
  svg.setAttribute("width", width * scale);
  svg.setAttribute("height", height * scale);
  const after = svg.getBoundingClientRect(), by = scale / old;  // what was at x, y stays there
  view.scrollLeft += (x - before.left) * by + after.left - x;
  scrollBy(0, (y - before.top) * by + after.top - y);
}
function show(which) {
  at = which % (found.length || 1);
  found[at]?.querySelector("rect").scrollIntoView({block: "center", inline: "center"});
}
find.oninput = () => {
  const text = find.value.trim().toLowerCase();
  found = text ? nodes.filter(node => node.dataset.name.toLowerCase().includes(text)) : [];
  nodes.forEach(node => node.classList.toggle("found", found.includes(node)));
  svg.classList.toggle("searched", text !== "");
  count.textContent = text ? found.length + " found" : "";
  show(0);
};
find.onkeydown = e => { if (e.key === "Enter") show(at + 1); };
const to = {in: () => scale * 1.25, out: () => scale / 1.25, fit: () => view.clientWidth / width};
document.querySelectorAll("button").forEach(b => { b.onclick = () => zoom(to[b.name]()); });
const wheel = e => { e.preventDefault(); zoom(scale * 1.002 ** -e.deltaY, e.clientX, e.clientY); };
addEventListener("wheel", e => { if (e.ctrlKey) wheel(e); }, {passive: false});
zoom(Math.max(0.5, Math.min(1, to.fit())));
"""


def _legend(nodes: list[Node]) -> str:
    rules = []
    for mode in (0, 1):
        colours = [
            f".legend .{name} {{ --fill: {pair[mode][0]}; --line: {pair[mode][1]} }}"
            for name, pair in FAMILIES.items()
        ]
        rules.append("\n".join(colours))
    entries = "".join(f'<span class="{name}">{name}</span>' for name in families_of(nodes))
    return (
        f"<style>{rules[0]}\n@media (prefers-color-scheme: dark) {{\n{rules[1]}\n}}</style>"
        f'<div class="legend">{entries}</div>'
    )


def to_html(nodes: list[Node], title: str) -> str:
    """A page with title, totals, a legend, a search for names, and the graph, to be zoomed.

    It loads nothing, and is well-formed XML too.  The same graph gives the same text.
    """
    plan = layout(nodes)
    width, height = number(plan.width), number(plan.height)
    name = escape(visible(title))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{name}</title>
<style>{_STYLE}{STYLE}</style>
</head>
<body>
<header>
<h1>{name}</h1>
<p>{escape(totals(nodes))}</p>
<div class="tools">
<output></output>
<input type="search" placeholder="find layers by name" aria-label="find layers by name"/>
<button name="out" title="smaller">&#8722;</button>
<button name="in" title="larger">+</button>
<button name="fit" title="as wide as the window">fit</button>
</div>
{_legend(nodes)}
</header>
<main>
<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="img" width="{width}" height="{height}"
viewBox="0 0 {width} {height}" aria-label="{name}">
{drawing(nodes, plan)}
</svg>
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""
