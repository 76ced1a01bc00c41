"""Checks of chapter 1's exercises."""

import math

import minidl as md
from course.checks import Wrong, compare, exercise, parts


@exercise(1, section="1.3")
def divide(answer):
    a, b = 3.0, 4.0
    y, da, db = parts(answer(a, b), ["y", "dy/da", "dy/db"])
    leaves = [md.tensor(number, requires_grad=True) for number in (a, b)]
    wanted = [g.data for g in md.grad(leaves[0] / leaves[1], leaves)]
    compare(y, a / b, {"y is b / a, the other way round": b / a}, what="y")
    compare(
        da, wanted[0],
        {
            f"dy/da is {da:.4g}, which is y / b. Where a grows by 1, y grows by 1 / b, whatever a "
            "is: y is a straight line in a": a / b**2,
            "dy/da is 1: that is the derivative of a + b, where the divisor plays no part": 1.0,
        },
        what="dy/da",
    )  # fmt: skip
    compare(
        db, wanted[1],
        {
            "dy/db has the wrong sign: where the divisor grows, the quotient of positive numbers "
            "shrinks. y = a * b**-1, and the derivative of b**-1 is -(b**-2)": a / b**2,
            "dy/db lacks a factor of a: a / b is a times 1 / b, and a constant factor stays in a "
            "derivative": -1 / b**2,
            "dy/db is -a / b: the power of b falls by one, from -1 to -2": -a / b,
        },
        what="dy/db",
    )  # fmt: skip


@exercise(1, section="1.3")
def tanh_rule(answer):
    x, g = 0.7, 3.0
    y = math.tanh(x)
    leaf = md.tensor(x, requires_grad=True)
    (wanted,) = md.grad(leaf.tanh() * g, leaf)
    compare(
        answer(y, g), wanted.data,
        {
            "what was returned is the local derivative, 1 - y**2, whatever g is. A rule passes on "
            "the derivative of the loss: by the chain rule, the local derivative times g, the "
            "gradient that arrives": 1 - y**2,
            "the numbers are those of 1 - tanh(y)**2: y is already tanh(x), so that taking tanh "
            "again differentiates at another point": (1 - math.tanh(y) ** 2) * g,
            "the numbers are those of 1 - y: the derivative of tanh is 1 - y squared": (1 - y) * g,
            "the local derivative and g were added; the chain rule multiplies them": 1 - y**2 + g,
            "the numbers are those of y * (1 - y), which is the logistic function's derivative; "
            "tanh's is 1 - y**2": y * (1 - y) * g,
        },
        what="the gradient",
    )  # fmt: skip


class Node:
    """A number of a graph: its parents, and its derivatives by them."""

    def __init__(self, name, parents=(), local=()):
        self.name, self.parents, self.local, self.grad = name, tuple(parents), tuple(local), 0.0

    def __repr__(self):
        return self.name


def diamond():
    """Return a, b = 2a, c = a * b (a is used twice) and d = b + 3c, in the order they were made."""
    a = Node("a")
    b = Node("b", [a], [2.0])
    c = Node("c", [a, b], [6.0, 3.0])  # at a = 3
    return a, b, c, Node("d", [b, c], [1.0, 3.0])


def chain(length):
    """Return the first and the last node of a long chain, each 1 times the one before."""
    first = last = Node("first")
    for number in range(length):
        last = Node(f"node {number}", [last], [1.0])
    return first, last


RECURSION = (
    "Python stops a function that calls itself some thousand levels deep, and a chain of {} "
    "operations is nothing unusual: a loop over a batch makes longer ones. Keep a list of nodes "
    "that are still to be visited instead of calling the function for each parent"
)
LONG = 5000


@exercise(1, section="1.4")
def topological_order(answer):
    nodes = diamond()
    found = answer(nodes[-1])
    if not isinstance(found, list | tuple):
        raise Wrong(f"it should return a list of nodes, got {type(found).__name__}")
    found = list(found)
    for node in nodes:
        times = found.count(node)
        if times > 1:
            raise Wrong(
                f"node {node} is {times} times in the list: it is reached along {times} paths, for "
                "it was used more than once. Remember the nodes that were seen, and skip those"
            )
        if not times:
            raise Wrong(f"node {node} is not in the list {found}, though d was made from it")
    place = {node: found.index(node) for node in nodes}
    early = [(n, p) for n in nodes for p in n.parents if place[p] > place[n]]
    if found == list(reversed(nodes)):
        raise Wrong("the list is the right way round for going back, but begins with the output: "
                    "it should end with it, as the nodes were computed")  # fmt: skip
    if early:
        node, parent = early[0]
        raise Wrong(
            f"the order {found} has {node} before its parent {parent}. A node may be put in the "
            "list only when all of its parents are in it: append it after its parents were "
            "visited, not on arriving at it"
        )
    try:
        found = answer(chain(LONG)[1])
    except RecursionError:
        raise Wrong(f"a RecursionError: {RECURSION.format(LONG)}") from None
    compare(len(found), LONG + 1, what=f"the length of the list for a chain of {LONG + 1} nodes")


@exercise(1, section="1.6")
def backward(answer):
    a, b, c, d = diamond()
    returned = answer(d)
    found = [node.grad for node in (a, b, c, d)]
    wanted = [38.0, 10.0, 3.0, 1.0]  # a = 3, b = 2a, c = ab, d = b + 3c: d = 2a + 6 a**2
    if not any(found):
        raise Wrong(
            "all gradients are 0: nothing starts the chain. The derivative of the output with "
            "respect to itself is 1, so set output.grad = 1.0 first"
        )
    if b.grad in (1.0, 9.0):  # what comes from d alone, from c alone
        raise Wrong(
            f"the gradient of b, which is used twice, is {b.grad:g}: what arrived last, and what "
            "arrived before is lost. Where a number is used twice its gradients add up: use `+=`",
            "1.5",
        )
    if found[1:] == wanted[1:] and a.grad != wanted[0]:
        raise Wrong(
            f"the gradient of a is {a.grad:g}, not 38, though those of b and c are right: some "
            "node passed its gradient on before all of it had arrived, or twice. Go through the "
            "nodes in reversed topological order, each once",
            "1.4",
        )
    if found != wanted:
        raise Wrong(f"the gradients of a, b, c and d are {found}; they should be {wanted}")
    _check_chain(answer)
    if returned is not None:
        raise Wrong("the gradients are right; it should return nothing")


def _check_chain(answer):
    first, last = chain(LONG)
    try:
        answer(last)
    except RecursionError:
        raise Wrong(f"a RecursionError: {RECURSION.format(LONG)}", "1.4") from None
    compare(first.grad, 1.0, what=f"the gradient after {LONG} nodes, each 1 times the one before")
