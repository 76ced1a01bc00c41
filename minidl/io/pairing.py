"""Which layer of a file is which of a model: by name, graph, shape, numbers or order."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from minidl.io.graph import Vertex, in_run_order, same_places
from minidl.io.layers import GATES, Layer
from minidl.io.zeros import Flow

__all__ = ["ORDER", "Pair", "Pairing", "pair_up"]

NAME = "name"  # they are called alike
GRAPH = "graph"  # they stand in the same place in the two networks, and nothing else does
SHAPE = "shape"  # nothing else is of this kind and shape
NUMBERS = (
    "numbers"  # the file's numbers say which of them runs first, and so does the model's graph
)
ORDER = "order"  # they come in this order, which proves nothing


@dataclass
class Pair:
    """A layer of the model, that of the file, and how they were matched."""

    slot: Layer
    layer: Layer
    how: str


@dataclass
class Pairing:
    """pairs: in the model's order.  rest: the file's layers without one.

    undecided: those that only their order would tell apart.  notes: for the report.
    """

    pairs: list[Pair] = field(default_factory=list)
    rest: list[Layer] = field(default_factory=list)
    undecided: list[Pair] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Task:
    layers: list[Layer]
    slots: list[Layer]
    torch: bool  # the file is PyTorch's
    flow: Callable[[], Flow]  # of the model; found when it is asked for
    partner: dict[int, tuple[Layer, str]] = field(default_factory=dict)  # by the slot's position
    undecided: dict[int, Layer] = field(default_factory=dict)

    def left(self, signature: Any) -> tuple[dict[Any, list[int]], dict[Any, list[Layer]]]:
        """Slots and layers without a partner, by their signature."""
        free: dict[Any, list[int]] = defaultdict(list)
        waiting: dict[Any, list[Layer]] = defaultdict(list)
        for i, slot in enumerate(self.slots):
            if i not in self.partner and i not in self.undecided:
                free[signature(slot, self.torch)].append(i)
        taken = [*(layer for layer, _ in self.partner.values()), *self.undecided.values()]
        for layer in _rest(self.layers, taken):
            waiting[signature(layer, self.torch, True)].append(layer)
        return free, waiting


def pair_up(
    layers: list[Layer],
    slots: list[Layer],
    torch: bool,
    flow: Callable[[], Flow],
    names_only: bool = False,
    order: bool = False,
) -> Pairing:
    """Match a file's layers to a model's, `slots`.

    torch: the file is PyTorch's.  flow: finds the model's graph.  names_only: nothing else counts,
    but for a head of another name.  order: take those that only their order tells apart.
    """
    task = _Task(layers, slots, torch, flow)
    _by_name(task, names_only)
    if not names_only:
        _by_graph(task)
        _by_signature(task, _by_part, order)
        _by_signature(task, _by_shape, order)
    _heads(task)
    if not names_only:
        _misfits(task)
    return Pairing(
        [Pair(slots[i], *task.partner[i]) for i in sorted(task.partner)],
        _rest(layers, (layer for layer, _ in task.partner.values())),
        [Pair(slots[i], layer, ORDER) for i, layer in sorted(task.undecided.items())],
    )


# By name


def _by_name(task: _Task, names_only: bool) -> None:
    count = Counter(_plain(layer.name) for layer in task.layers)
    named = {_plain(each.name): each for each in task.layers if count[_plain(each.name)] == 1}
    counted = set() if names_only else _miscounted(task.layers, task.slots)
    for i, slot in enumerate(task.slots):
        layer = named.get(_plain(slot.name))
        if layer is None or not _may_be(layer, slot, task.torch):
            continue
        if layer.told.renamed or slot.name.rpartition(".")[0] not in counted:
            task.partner[i] = (layer, NAME)


def _may_be(layer: Layer, slot: Layer, torch: bool) -> bool:
    """Whether a layer's kind allows the place that its name asks for."""
    if torch or layer.told.guessed or layer.kind == slot.kind:
        return True
    return {layer.kind, slot.kind} in ({"linear", "convolution"}, {"depthwise", "convolution"})


def _miscounted(layers: list[Layer], slots: list[Layer]) -> set[str]:
    """The groups whose layers are only numbered, and by other numbers in the model.

    PyTorch's Sequentials count activations as parts, which here are in the layer before.
    """
    numbers: list[dict[str, set[str]]] = [defaultdict(set), defaultdict(set)]
    for found, side in zip((layers, slots), numbers, strict=True):
        for layer in found:
            group, _, last = layer.name.rpartition(".")
            if last.isdigit():
                side[group].add(last)
    in_file, in_model = numbers
    return {group for group in in_model if not in_model[group] <= in_file.get(group, set())}


def _plain(name: str) -> str:
    return name.replace("/", "_").replace(".", "_")


def _rest(layers: list[Layer], taken: Iterable[Layer]) -> list[Layer]:
    gone = {id(layer) for layer in taken}
    return [layer for layer in layers if id(layer) not in gone]


# By graph


def _by_graph(task: _Task) -> None:
    """Where the file tells its network, and the model could be run."""
    if not any(layer.told.before is not None for layer in task.layers):
        return
    edges = task.flow().edges
    if not edges:
        return
    pairs = {id(layer): i for i, (layer, _) in task.partner.items()}
    theirs, ours = [], []
    for layer in task.layers:
        label = ("named", pairs[id(layer)]) if id(layer) in pairs else None
        name, before = layer.told.name, layer.told.before or frozenset()
        theirs.append(Vertex(name, label or _by_shape(layer, task.torch, True), before))
    for i, slot in enumerate(task.slots):
        named = i in task.partner
        label = ("named", i) if named else _by_shape(slot, task.torch)
        ours.append(Vertex(slot.name, label, edges.get(slot.name, frozenset())))
    by_old_name = {layer.told.name: layer for layer in task.layers}
    places = {slot.name: i for i, slot in enumerate(task.slots)}
    unique = [signature for signature, n in Counter(v.label for v in ours).items() if n == 1]
    for slot_name, name in same_places(ours, theirs).items():
        i, layer = places[slot_name], by_old_name[name]
        if i not in task.partner and id(layer) not in pairs and layer.told.before is not None:
            alone = _by_shape(task.slots[i], task.torch) in unique
            task.partner[i] = (layer, SHAPE if alone else GRAPH)


# By kind and shape


def _by_signature(task: _Task, signature: Any, order: bool) -> None:
    free, waiting = task.left(signature)
    for key, places in free.items():
        layers = waiting[key]
        if len(layers) != len(places) or len({x.told.group for x in layers}) != 1:
            continue
        if len(places) == 1:
            task.partner[places[0]] = (layers[0], SHAPE)
            continue
        rows = _numbered_rows(task, places, layers)
        for i, layer in zip(rows or places, layers, strict=True):
            if rows or order:
                task.partner[i] = (layer, NUMBERS if rows else ORDER)
            else:
                task.undecided[i] = layer


def _numbered_rows(task: _Task, places: list[int], layers: list[Layer]) -> list[int] | None:
    """The slots in the order of the file's layers, if that can be told: for the file by numbers,
    for the model by its graph or by its own numbers."""
    if not _numbered([layer.told.name for layer in layers], layers, task.torch):
        return None
    names = {task.slots[i].name: i for i in places}
    edges = task.flow().edges
    own = list(names) if _ascending(list(names)) else None
    rows = in_run_order(list(names), edges) if edges else own
    if own is not None and rows != own:  # the file's numbers may count either
        return None
    return None if rows is None else [names[name] for name in rows]


def _numbered(names: list[str], layers: list[Layer], torch: bool) -> bool:
    if torch:
        return _ascending(names)
    last = [name.rpartition(".")[2] for name in names]
    last = [name if re.search(r"_\d+$", name) else f"{name}_0" for name in last]
    alike = len({_skeleton(name) for name in last}) == 1 and len(set(last)) == len(last)
    placed = all(layer.told.placed for layer in layers)
    return _ascending(last) if alike else placed


def _skeleton(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _ascending(names: list[str]) -> bool:
    """Whether the names differ in their numbers alone, and these grow."""
    numbers = [tuple(map(int, re.findall(r"\d{1,18}", name))) for name in names]
    grow = all(a < b for a, b in pairwise(numbers))
    return grow and len({_skeleton(name) for name in names}) == 1


def _heads(task: _Task) -> None:
    """Match a Dense layer of the file and a 1x1 convolution of the model, or the other way, where
    one of each is left; a convolution of as many groups as channels and a depthwise one likewise;
    and, where only names counted, a last layer of another name."""
    for signature in (_by_product, _by_channel):
        free, waiting = task.left(signature)
        for key, places in free.items():
            if key is not None and len(places) == len(waiting[key]) == 1:
                task.partner[places[0]] = (waiting[key][0], SHAPE)


def _misfits(task: _Task) -> None:
    """What is left of a kind in order, if no shapes agree: they are to be reported."""
    free, waiting = task.left(_family)
    for key, places in free.items():
        layers = waiting[key]
        if len(layers) != len(places) or len({x.told.group for x in layers}) != 1:
            continue
        ours = {_by_shape(task.slots[i], task.torch) for i in places}
        if ours.isdisjoint(_by_shape(layer, task.torch, True) for layer in layers):
            task.partner |= {i: (x, ORDER) for i, x in zip(places, layers, strict=True)}


def _family(layer: Layer, torch: bool, in_file: bool = False) -> str:
    """The kind, as far as the file can tell it: PyTorch's arrays of several kinds look alike."""
    if torch and layer.kind in ("convolution", "depthwise", "transposed"):
        return "convolution"
    if torch and layer.kind in ("linear", "embedding"):
        return "linear"
    return layer.kind


def _by_part(layer: Layer, torch: bool, in_file: bool = False) -> tuple[Any, ...]:
    """What `_by_shape` says, with parts of separable convolutions apart from other layers."""
    return (layer.told.separable, *_by_shape(layer, torch, in_file))


def _by_shape(layer: Layer, torch: bool, in_file: bool = False) -> tuple[Any, ...]:
    """Family and shape of its weight, as the file would have it."""
    first = "weight_ih" if layer.kind in GATES else "weight"
    weight = layer.arrays.get(first, layer.arrays.get(f"{first}_l0"))
    if weight is None:
        shapes = [array.shape for array in layer.arrays.values()]
        return (_family(layer, torch), *shapes)
    shape = weight.shape
    if torch and not in_file:
        shape = _torch_shape(layer.kind, shape)
    return (_family(layer, torch), shape)


def _torch_shape(kind: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if kind == "depthwise":
        kh, kw, channels, multiplier = shape
        return (channels * multiplier, 1, kh, kw)
    if kind in ("convolution", "transposed"):
        kh, kw, second, first = shape
        return (first, second, kh, kw)
    return shape[::-1] if kind == "linear" or kind in GATES else shape


def _by_product(layer: Layer, torch: bool, in_file: bool = False) -> Any:
    """(in, out) of what computes x @ weight of every pixel; None for other layers."""
    weight = layer.arrays.get("weight")
    if layer.kind not in ("linear", "convolution") or weight is None:
        return None
    shape = weight.shape
    if torch and in_file:
        shape = (*shape[2:], *shape[1::-1]) if len(shape) == 4 else shape[::-1]
    if len(shape) not in (2, 4) or shape[:-2] not in ((), (1, 1)):
        return None
    return shape[-2:]


def _by_channel(layer: Layer, torch: bool, in_file: bool = False) -> Any:
    """(kh, kw, out) of what convolves each channel by itself; None for other layers."""
    weight = layer.arrays.get("weight")
    if torch or weight is None or weight.ndim != 4:
        return None
    if layer.kind == "depthwise":
        return (*weight.shape[:2], weight.shape[2] * weight.shape[3])
    return (*weight.shape[:2], weight.shape[3]) if weight.shape[2] == 1 else None
