"""What a network makes of the outputs of its layers with weights, as an expression.

relu(a + b) and relu(a) + b hold the same ops in another order. Expressions are built in a form that
is alike where the results are: max pooling comes before activations that only grow, silu is written
x * sigmoid(x), and sums in sums are one sum.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = [
    "INPUT",
    "OR",
    "UNKNOWN",
    "Expression",
    "applied",
    "in_words",
    "layer",
    "positive",
    "same",
]

OR = " or "  # between two names for one op
DEEPEST, WIDEST = 100, 300  # larger expressions aren't compared


@dataclass(frozen=True, eq=False)
class Expression:
    """An op of other expressions, or a leaf: an input or a layer of that name."""

    op: str
    parts: tuple["Expression", ...] = ()
    name: str = ""
    known: bool = field(default=True)
    depth: int = 0


UNKNOWN = Expression("?", known=False)
INPUT = Expression("input")
SUMS = ("add", "multiply")  # in any order
JOIN = "join"
GROWING = ("relu", "relu6", "tanh", "sigmoid", "leaky_relu", "elu")  # so that max pooling commutes
KEEPING_ZERO = (*GROWING[:3], "leaky_relu", "elu", "silu", "hardswish", "gelu", "mish")
POSITIVE = ("relu", "relu6", "sigmoid", "hardsigmoid", "softmax", "softplus")
WRITTEN_OUT = {"silu": "sigmoid", "hardswish": "hardsigmoid"}  # x * that of x
IN_ZEROS = " of images in zeros"


def layer(name: str) -> Expression:
    """The output of the layer `name`."""
    return Expression("layer", name=name)


def _made(op: str, *parts: Expression) -> Expression:
    depth = 1 + max((part.depth for part in parts), default=0)
    known = all(part.known for part in parts) and depth <= DEEPEST and len(parts) <= WIDEST
    return Expression(op, parts, known=known, depth=depth) if known else UNKNOWN


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
    one: Expression, other: Expression, alike: Callable[[str, str], bool | None]
) -> bool | None:
    """Whether two expressions compute the same; None where that can't be known.

    alike: whether two layers, of one's and of the other's network, are the same.
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
        return alike(one.name, other.name)
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


def in_words(one: Expression, depth: int = 4) -> str:
    """The expression as people write it, as far as it isn't too long."""
    if one.op == "layer":
        return one.name or "the model itself"
    if not one.parts:
        return one.op
    if depth == 0:
        return "..."
    parts = [in_words(part, depth - 1) for part in one.parts[:4]]
    return f"{one.op}({', '.join(parts)}{', ...' if len(one.parts) > 4 else ''})"
