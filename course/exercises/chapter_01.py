"""Exercises of chapter 1, a scalar tape. `python -m course.check 1` checks them."""


def divide(a, b):
    """Divide two numbers, with the derivatives that a tape needs (section 1.3).

    Return three floats: y = a / b, dy/da and dy/db.
    """
    raise NotImplementedError


def tanh_rule(y, g):
    """Return the gradient with respect to x of y = tanh(x) (section 1.3).

    y: what tanh gave; x itself isn't needed.  g: the gradient of the loss for y.
    """
    raise NotImplementedError


def topological_order(output):
    """Return the list of all nodes that `output` was made from, itself last (section 1.4).

    Each node appears once, after all of its parents, which are in the tuple `node.parents`.
    """
    raise NotImplementedError


def backward(output):
    """Fill in `grad`, the derivative of `output`, for every node that it was made from (1.6).

    A node has `parents`, a tuple of nodes; `local`, a tuple of its derivatives by each of them;
    and `grad`, which is 0.0 before the call. Returns nothing.
    """
    raise NotImplementedError
