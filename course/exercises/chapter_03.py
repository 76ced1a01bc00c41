"""Exercises of chapter 3, gradient checks. `python -m course.check 3` checks them."""


def numerical_gradient(f, x, h=1e-5):
    """Return the gradient of f at x by central differences (sections 3.1 and 3.2).

    f: takes an array of the shape of x, returns a float.  x: a float64 array of any shape.
    Returns an array of the shape of x; x itself is left as it was.
    """
    raise NotImplementedError


def gradients_agree(numerical, computed, atol=1e-6, rtol=1e-5):
    """Return True if two gradients agree in every entry, else False (section 3.3).

    They agree where |numerical - computed| <= atol + rtol * |numerical|, and nowhere else.
    """
    raise NotImplementedError


def along_direction(f, x, gradient, u, h=1e-6):
    """Return the derivative of f along u, by central differences and by `gradient` (section 3.4).

    f: takes an array of the shape of x, returns a float.  gradient, u: of the shape of x.
    Returns two floats.
    """
    raise NotImplementedError


def softmax_backward(g, y):
    """Return the gradient with respect to x of y = softmax(x), row by row (section 3.8).

    y: (N, K), the output; its rows sum to 1.  g: (N, K), the gradient of y.  Returns (N, K).
    """
    raise NotImplementedError
