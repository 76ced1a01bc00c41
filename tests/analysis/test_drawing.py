"""Drawings of networks: their layout, SVG, HTML and DOT."""

import random
import re
from dataclasses import replace
from functools import cache, partial
from xml.etree import ElementTree

import numpy as np
import pytest

import minidl as md
from minidl import models, nn
from minidl.analysis import Node, trace
from minidl.analysis.drawing.dot import to_dot
from minidl.analysis.drawing.labels import family, fitted, quantity, shape_text, text_width
from minidl.analysis.drawing.layout import BOX_HEIGHT, Layout, layout
from minidl.analysis.drawing.page import to_html
from minidl.analysis.drawing.svg import to_svg

NASTY = """<b>&"'\\N]]>\x00\ud800\n--><script>alert(1)</script>"""


def node(name: str, *inputs: int, kind: str = "Conv2d", detail: str = "") -> Node:
    return Node(name, kind, detail, (8, 8, 4), 10, 1000, inputs)


def random_graph(seed: int) -> list[Node]:
    """Any acyclic graph: several inputs, dead ends, the same input twice, long edges."""
    draw = random.Random(seed)
    nodes = [node("input", kind="input")]
    for position in range(1, draw.randrange(2, 60)):
        name = ".".join(draw.choice("abc") for _ in range(draw.randrange(1, 5)))
        recent = range(max(0, position - draw.choice((1, 3, 50))), position)
        inputs = [draw.choice(recent) for _ in range(draw.choice((0, 1, 1, 1, 1, 2, 2, 3, 5)))]
        nodes.append(node(name, *inputs))
    return nodes


@cache
def network(name: str) -> list[Node]:
    """The graph of a network on a small image, where it takes one."""
    model = models.create(name)
    size = 64 if model.any_size else model.input_shape[0]
    return trace(model, np.zeros((1, size, size, model.input_shape[2]), np.float32))[1]


NETWORKS = ["resnet50", "googlenet", "densenet121", "lenet5", "se_resnet50", "preact_resnet"]
GRAPHS = {name: partial(network, name) for name in NETWORKS}
GRAPHS |= {f"random {seed}": partial(random_graph, seed) for seed in range(30)}
GRAPHS["one node"] = lambda: [node("input", kind="input")]

each_graph = pytest.mark.parametrize("nodes", GRAPHS, indirect=True)


@pytest.fixture
def nodes(request):
    return GRAPHS[request.param]()


def boxes(plan: Layout) -> list[tuple[float, float, float, float]]:
    """Left, top, right, bottom."""
    half, tall = plan.box_width / 2, BOX_HEIGHT / 2
    return [(x - half, y - tall, x + half, y + tall) for x, y in plan.centres]


def meet(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def within(a, b) -> bool:
    return b[0] < a[0] and b[1] < a[1] and a[2] < b[2] and a[3] < b[3]


@each_graph
def test_boxes_are_apart_and_in_the_drawing(nodes):
    plan = layout(nodes)
    drawn = boxes(plan)
    assert len(drawn) == len(nodes)
    for i, box in enumerate(drawn):
        assert within(box, (0, 0, plan.width, plan.height))
        assert not any(meet(box, other) for other in drawn[:i])


@each_graph
def test_edges_go_downwards_from_box_to_box(nodes):
    plan = layout(nodes)
    drawn = boxes(plan)
    edges = sorted((source, target) for target, n in enumerate(nodes) for source in n.inputs)
    assert sorted((route.source, route.target) for route in plan.routes) == edges
    for route in plan.routes:
        (x, y), (end_x, end_y) = route.points[0], route.points[-1]
        left, _, right, bottom = drawn[route.source]
        assert left < x < right
        assert y == bottom
        left, top, right, _ = drawn[route.target]
        assert left < end_x < right
        assert end_y == top
        heights = [y for _, y in route.points]
        assert heights == sorted(set(heights))
        assert route.points[-2][0] == end_x, "the arrow head stands upright"


@each_graph
def test_no_edge_runs_through_a_box(nodes):
    plan = layout(nodes)
    drawn = boxes(plan)
    for route in plan.routes:
        for (x, y), (to_x, to_y) in zip(route.points, route.points[1:]):
            # a curve stays within the rectangle of its ends
            stretch = (min(x, to_x) - 1, y, max(x, to_x) + 1, to_y)
            assert not any(meet(stretch, box) for box in drawn)


@each_graph
def test_long_edges_from_different_nodes_are_apart(nodes):
    verticals = {}
    for route in layout(nodes).routes:
        for (x, y), (to_x, to_y) in zip(route.points, route.points[1:]):
            if x == to_x and to_y - y > BOX_HEIGHT:
                verticals.setdefault(x, set()).add((route.source, y, to_y))
    for stretches in verticals.values():
        for source, top, bottom in stretches:
            for other, above, below in stretches:
                assert source == other or bottom <= above or below <= top


@each_graph
def test_frames_hold_their_block_alone(nodes):
    plan = layout(nodes)
    frames = [(f.name, (f.x, f.y, f.x + f.width, f.y + f.height)) for f in plan.frames]
    for name, frame in frames:
        assert within(frame, (0, 0, plan.width, plan.height))
        for n, box in zip(nodes, boxes(plan)):
            if n.name.startswith(name + "."):
                assert within(box, frame)
            else:
                assert not meet(box, frame)
    for i, (name, frame) in enumerate(frames):
        for other, around in frames[:i]:
            if name.startswith(other + "."):
                assert within(frame, around)
            else:
                assert not meet(frame, around)


def test_the_blocks_of_known_networks_are_framed():
    names = {frame.name for frame in layout(network("resnet50")).frames}
    blocks = {f"features.{i}.{k}" for i, n in enumerate((3, 4, 6, 3), 1) for k in range(n)}
    stages = {f"features.{i}" for i in range(5)}
    assert names == {"classifier", "features.0.0", *blocks, *stages}
    names = {frame.name for frame in layout(network("googlenet")).frames}
    assert {f"features.2.{i}" for i in range(5)} <= names


def test_the_main_path_is_a_straight_column():
    for name in ("resnet50", "densenet121", "lenet5"):
        nodes = network(name)
        plan = layout(nodes)
        aside = [n.name for n, (x, _) in zip(nodes, plan.centres) if x != plan.centres[0][0]]
        assert all(".shortcut." in name for name in aside)


def test_parallel_branches_stand_side_by_side_in_their_order():
    nodes = [node("input", kind="input"), *(node(f"branch{i}", 0) for i in range(4))]
    nodes.append(node("join", 1, 2, 3, 4, kind="concatenate"))
    centres = layout(nodes).centres
    assert len({y for _, y in centres[1:5]}) == 1
    assert len({x for x, _ in centres[1:5]}) == 4
    nodes = network("googlenet")
    at = {n.name: x for n, (x, _) in zip(nodes, layout(nodes).centres)}
    xs = [at[f"features.2.2.{name}"] for name in ("0", "1.0", "2.0", "3.0")]
    assert xs == sorted(set(xs))


def test_edges_end_at_a_box_in_the_order_of_their_lanes():
    ends = {}
    for route in layout(network("densenet121")).routes:
        lane = route.points[-3][0] if len(route.points) > 2 else route.points[0][0]
        ends.setdefault(route.target, []).append((lane, route.points[-1][0]))
    for pairs in ends.values():
        places = [place for _, place in sorted(pairs)]
        assert places == sorted(places)


@each_graph
def test_outputs_are_well_formed_and_deterministic(nodes):
    svg = to_svg(nodes, "a network")
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert svg.count('class="node ') == len(nodes)
    html = to_html(nodes, "a network")
    ElementTree.fromstring(html)
    assert svg == to_svg(list(nodes), "a network")
    assert html == to_html(list(nodes), "a network")
    assert to_dot(nodes, "a network") == to_dot(list(nodes), "a network")


@pytest.mark.parametrize("write", [to_svg, to_html])
def test_names_are_escaped(write):
    nodes = [node(NASTY, kind=NASTY, detail=NASTY), node(f"{NASTY}.{NASTY}", 0)]
    nodes.append(node(f"{NASTY}.b", 1))
    nodes += [node(f"other.{i}", 2) for i in range(6)]
    text = write(nodes, NASTY)
    root = ElementTree.fromstring(text)
    plain = ElementTree.fromstring(write([node("a"), *(node("b", 0) for _ in range(8))], "t"))
    assert {e.tag for e in root.iter()} <= {e.tag for e in plain.iter()}
    assert sum(e.tag.endswith("script") for e in root.iter()) == (write is to_html)
    assert "alert(1)<" not in text
    shown = NASTY.replace("\x00", "\ufffd").replace("\ud800", "\ufffd").replace("\n", " ")
    assert next(e.get("data-name") for e in root.iter() if e.get("data-name")) == shown
    text.encode("utf-8")


def test_dot_quotes_names():
    text = to_dot([node('a.say "\\N"', detail='"x\\'), node("a.b\nc", 0)], NASTY)
    text.encode("utf-8")
    assert r"\"x\\" in text
    assert r"a.say \"\\N\"" in text
    strings = re.compile(r'"(?:[^"\\\n]|\\.)*"')
    assert '"' not in strings.sub("", text)
    assert "n0 -> n1;" in text
    assert text.count("{") == text.count("}")


@each_graph
def test_dot_has_every_node_and_edge_once(nodes):
    text = to_dot(nodes, "a network")
    assert len(re.findall(r"^n\d+ \[", text, re.M)) == len(nodes)
    assert text.count(" -> ") == sum(len(n.inputs) for n in nodes)
    assert text.count("{\n") == len(re.findall(r"^}$", text, re.M))
    clusters = re.findall(r"subgraph (\w+)", text)
    assert len(clusters) == len(set(clusters))


def test_pages_load_nothing():
    text = to_html(network("resnet50"), "a network")
    text = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|src=|href=|url\(|@import", text)
    script = text[text.index("<script>") : text.index("</script>")]
    assert len(script.splitlines()) <= 36


def test_a_box_tells_kind_detail_shape_and_in_its_tooltip_the_rest():
    text = to_svg(network("resnet50"), "ResNet-50").replace("\N{MULTIPLICATION SIGN}", "x")
    assert '<tspan class="kind">Conv2d</tspan> 7x7, 64, stride 2</text>' in text
    assert ">32 x 32 x 64</text>" in text
    told = "Conv2d 7x7, 64, stride 2\noutput 32 x 32 x 64\n9,408 parameters\n9,633,792 mult-adds"
    assert f"features.0.0.conv\n{told}" in text
    assert "25.6 M parameters, 336 M mult-adds" in text


def test_text_is_cut_where_a_box_is_too_narrow():
    plan = layout([node("a", kind="K" * 300)])
    assert plan.box_width < 300
    cut = fitted("K" * 300, 12, 100)
    assert cut.endswith("…")
    assert text_width(cut, 12) <= 100
    assert fitted("short", 12, 100) == "short"


def test_families_and_numbers():
    expected = {
        nn.Conv2d: "convolution", nn.ConvTranspose2d: "convolution", nn.Linear: "linear",
        nn.BatchNorm2d: "normalization", nn.GlobalAvgPool2d: "pooling", nn.ReLU: "other",
    }  # fmt: skip
    assert {cls: cls.family for cls in expected} == expected
    assert md.ops.add.family == "joining"
    assert family(replace(node("a"), family="of mine")) == "other"
    numbers = {0: "0", 999: "999", 1000: "1 k", 25_557_032: "25.6 M", 4_090_000_000: "4.09 G"}
    assert {n: quantity(n) for n in numbers} == numbers
    assert shape_text((7,)) == "7"


def test_networks_deeper_than_recursion_goes():
    chain = [node("input", kind="input"), *(node(f"a.{i}", i) for i in range(5000))]
    assert len(layout(chain).centres) == 5001
