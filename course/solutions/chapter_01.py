"""Solutions of chapter 1, a scalar tape."""


def divide(a, b):
    """Divide two numbers, with the derivatives that a tape needs (section 1.3).

    Return three floats: y = a / b, dy/da and dy/db.
    """
    return a / b, 1 / b, -a / b**2


def tanh_rule(y, g):
    """Return the gradient with respect to x of y = tanh(x) (section 1.3).

    y: what tanh gave; x itself isn't needed.  g: the gradient of the loss for y.
    """
    return (1 - y**2) * g


def topological_order(output):
    """Return the list of all nodes that `output` was made from, itself last (section 1.4).

    Each node appears once, after all of its parents, which are in the tuple `node.parents`.
    """
    order, seen, stack = [], set(), [(output, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents)
    return order


def backward(output):
    """Fill in `grad`, the derivative of `output`, for every node that it was made from (1.6).

    A node has `parents`, a tuple of nodes; `local`, a tuple of its derivatives by each of them;
    and `grad`, which is 0.0 before the call. Returns nothing.
    """
    output.grad = 1.0
    for node in reversed(topological_order(output)):
        for parent, derivative in zip(node.parents, node.local):
            parent.grad += derivative * node.grad
