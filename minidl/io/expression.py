"""What a network makes of the outputs of its layers with weights, as an expression.

relu(a + b) and relu(a) + b hold the same ops in another order. Expressions are built in a form that
is alike where the results are: max pooling comes before activations that only grow, silu is written
x * sigmoid(x), and sums in sums are one sum.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

__all__ = [
    "INPUT",
    "OR",
    "UNKNOWN",
    "Expression",
    "applied",
    "in_words",
    "input_of",
    "layer",
    "positive",
    "renamed",
    "renamed_roots",
    "roots",
    "same",
    "scores",
]

OR = " or "  # between two names for one op
DEEPEST, WIDEST = 100, 300  # larger expressions aren't compared


@dataclass(frozen=True, eq=False)
class Expression:
    """An op of other expressions, or a leaf: an input or a layer of that name.

    call: of a layer, which of its calls, from 0.  leaves: (op, name, call) of all leaves.
    """

    op: str
    parts: tuple["Expression", ...] = ()
    name: str = ""
    known: bool = field(default=True)
    depth: int = 0
    call: int = 0
    leaves: frozenset[tuple[str, str, int]] = frozenset()


UNKNOWN = Expression("?", known=False)
Roots = dict[tuple[str, int], frozenset[tuple[str, str]] | None]
SUMS = ("add", "multiply")  # in any order
JOIN = "join"
GROWING = ("relu", "relu6", "tanh", "sigmoid", "leaky_relu", "elu")  # so that max pooling commutes
KEEPING_ZERO = (*GROWING[:3], "leaky_relu", "elu", "silu", "hardswish", "gelu", "mish")
POSITIVE = ("relu", "relu6", "sigmoid", "hardsigmoid", "softmax", "softplus")
WRITTEN_OUT = {"silu": "sigmoid", "hardswish": "hardsigmoid"}  # x * that of x
IN_ZEROS = " in zeros"


def _leaf(op: str, name: str, call: int = 0) -> Expression:
    return Expression(op, name=name, call=call, leaves=frozenset({(op, name, call)}))


def input_of(count: int, place: int) -> Expression:
    """An input of a model, whose place among `count` of them tells it apart."""
    return _leaf("input", str(place + 1) if count > 1 else "")


INPUT = input_of(1, 0)


def layer(name: str, call: int = 0) -> Expression:
    """The output of the layer `name`."""
    return _leaf("layer", name, call)


def roots(calls: Sequence[tuple[str, Expression]]) -> Roots:
    """What each call of a layer that is called more than once comes from: inputs, and layers that
    are called once. None where that isn't known.

    calls: names of layers and what they took, in the order in which they ran.
    """
    times, before = Counter(name for name, _ in calls), Counter[str]()
    found: Roots = {}
    for name, taken in calls:
        if times[name] > 1:
            found[name, before[name]] = _roots_of(taken, found)
        before[name] += 1
    return found


def _roots_of(taken: Expression, found: Roots) -> frozenset[tuple[str, str]] | None:
    made: set[tuple[str, str]] = set()
    for op, name, call in taken.leaves:
        earlier = (
            found.get((name, call), frozenset({(op, name)})) if op == "layer" else {(op, name)}
        )
        if earlier is None:
            return None
        made |= earlier
    return frozenset(made) if taken.known else None


def _made(op: str, *parts: Expression) -> Expression:
    depth = 1 + max((part.depth for part in parts), default=0)
    known = all(part.known for part in parts) and depth <= DEEPEST and len(parts) <= WIDEST
    leaves = frozenset().union(*(part.leaves for part in parts))
    return Expression(op, parts, known=known, depth=depth, leaves=leaves) if known else UNKNOWN


def _base(op: str) -> str:
    return op.partition(" ")[0]


def applied(op: str, *parts: Expression, padded: bool = False) -> Expression:
    """An op, in the words of `effects`, of expressions.

    padded: whether there are zeros around the images that it takes.
    """
    base = _base(op)
    if op == "?" or not all(part.known for part in parts):
        return UNKNOWN
    if op in SUMS or op == JOIN:
        flat = [p for part in parts for p in (part.parts if part.op == op else (part,))]
        return _made(op, *flat)
    if len(parts) != 1:
        return _made(op, *parts)
    if op.startswith("sigmoid"):
        op = base
    if base in WRITTEN_OUT:
        return applied("multiply", parts[0], applied(WRITTEN_OUT[base], parts[0], padded=padded))
    return _of_one(op, base, parts[0], padded)


def _of_one(op: str, base: str, part: Expression, padded: bool) -> Expression:
    pools, activates = "pooling" in op, base in (*KEEPING_ZERO, *POSITIVE)
    if part.op == JOIN and base not in ("softmax", "log_softmax"):  # channel by channel
        return _made(JOIN, *(_of_one(op, base, each, padded) for each in part.parts))
    if base == "relu" and op == "relu" and positive(part):
        return part
    if activates and padded and base not in KEEPING_ZERO:
        op += IN_ZEROS
    if activates and part.op.startswith("nearest upsampling"):
        return _made(part.op, _of_one(op, base, part.parts[0], padded))
    inner = _base(part.op)
    if pools and op.startswith("max") and inner in GROWING and IN_ZEROS not in part.op + op:
        return _made(part.op, _of_one(op, base, part.parts[0], padded))
    if pools and op.startswith("global max") and inner in GROWING and IN_ZEROS not in part.op:
        return _made(part.op, _of_one(op, base, part.parts[0], padded))
    return _made(op, part)


def positive(part: Expression) -> bool:
    """Whether it is known to hold nothing below 0."""
    if _base(part.op) in POSITIVE:
        return True
    passing = part.op in (*SUMS, JOIN) or "pooling" in part.op or "upsampling" in part.op
    return passing and bool(part.parts) and all(map(positive, part.parts))


def same(
    one: Expression, other: Expression, alike: Callable[[Expression, Expression], bool | None]
) -> bool | None:
    """Whether two expressions compute the same; None where that can't be known.

    alike: whether the outputs of two layers, of one's and of the other's network, are the same.
    """
    if not (one.known and other.known):
        return None
    return _same(one, other, alike, {})


Known = dict[tuple[int, int], bool | None]


def _same(one: Expression, other: Expression, alike: Callable, known: Known) -> bool | None:
    key = id(one), id(other)
    if key not in known:
        known[key] = _compared(one, other, alike, known)
    return known[key]


def _compared(one: Expression, other: Expression, alike: Callable, known: Known) -> bool | None:
    if one.op == other.op == "layer":
        return alike(one, other)
    if one.op == other.op == "input":
        return one.name == other.name or "" in (one.name, other.name)
    if not set(one.op.split(OR)) & set(other.op.split(OR)) or len(one.parts) != len(other.parts):
        return False
    if one.op in SUMS:
        return _any_order(one, other, alike, known)
    found = [_same(a, b, alike, known) for a, b in zip(one.parts, other.parts, strict=True)]
    return False if False in found else None if None in found else True


def _any_order(one: Expression, other: Expression, alike: Callable, known: Known) -> bool | None:
    left, unsure = list(other.parts), False
    for part in one.parts:
        results = [_same(part, each, alike, known) for each in left]
        if True not in results:
            if None not in results:
                return False
            unsure = True
            continue
        del left[results.index(True)]
    return None if unsure else True


def renamed(one: Expression, names: Mapping[str, str]) -> Expression:
    """With the names that layers have in the file."""
    made: dict[int, Expression] = {}

    def of(each: Expression) -> Expression:
        if id(each) not in made:
            name = names.get(each.name, each.name)
            made[id(each)] = replace(each, name=name, parts=tuple(map(of, each.parts)))
        return made[id(each)]

    return of(one)


def renamed_roots(found: Roots, names: Mapping[str, str]) -> Roots:
    """The same for what calls come from."""
    return {
        (names.get(name, name), call): of
        and frozenset((op, names.get(each, each) if op == "layer" else each) for op, each in of)
        for (name, call), of in found.items()
    }


def scores(one: Expression) -> Expression:
    """What a last softmax or sigmoid takes; other expressions as they are."""
    last = _base(one.op) in ("softmax", "log_softmax", "sigmoid")
    return one.parts[0] if last and len(one.parts) == 1 else one


def in_words(one: Expression, depth: int = 4) -> str:
    """The expression as people write it, as far as it isn't too long."""
    if one.op == "layer":
        return one.name or "the model itself"
    if not one.parts:
        return f"{one.op} {one.name}".rstrip()
    if depth == 0:
        return "..."
    parts = [in_words(part, depth - 1) for part in one.parts[:4]]
    return f"{one.op}({', '.join(parts)}{', ...' if len(one.parts) > 4 else ''})"
