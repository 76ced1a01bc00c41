"""How a tape computes gradients, on a network small enough to follow by hand.

    python examples/01_autograd.py

A Tensor is an ndarray that remembers how it was made. Every operation on Tensors writes a node
onto the tape: which op ran, on what, and what its gradient rule will need. `backward()` reads the
tape from its end to its beginning and multiplies derivatives along the way: the chain rule.
"""

import numpy as np

import minidl as md
from minidl import ops

md.manual_seed(0)

# 1. One step of the tape ------------------------------------------------------------------------
#
# y = x0 * x1. Multiplication's rules: dy/dx0 = x1 and dy/dx1 = x0.

x0 = md.tensor(3.0, requires_grad=True)
x1 = md.tensor(4.0, requires_grad=True)
y = x0 * x1
y.backward()
print(f"y = {float(y):g}, dy/dx0 = {x0.grad}, dy/dx1 = {x1.grad}")

# 2. The tape, seen ------------------------------------------------------------------------------
#
# An op hook is told of every op that runs: first those of the forward pass, then, as the tape is
# read backwards, those that the gradient rules are written in.

x = md.tensor([1.0, -2.0, 3.0], requires_grad=True)
with md.register_op_hook(lambda op, inputs, settings, output: print("  ran", op.name)):
    print("forward")
    loss = (ops.relu(x) * 2).sum()
    print("backward")
    loss.backward()
print("x.grad =", x.grad, "(relu passes nothing where x < 0)")

# 3. A multi-layer perceptron, by hand -----------------------------------------------------------
#
# Two classes that no straight line parts: points inside and outside a circle.

random = np.random.default_rng(0)
points = random.uniform(-1, 1, (256, 2))
labels = (np.hypot(points[:, 0], points[:, 1]) < 0.7).astype(np.int64)


def parameter(*shape):
    """Small random numbers that want a gradient; float64, so that step 5 can check it."""
    return md.tensor(random.normal(0, 1 / np.sqrt(shape[0]), shape), requires_grad=True)


shapes = {"w1": (2, 16), "b1": (16,), "w2": (16, 2), "b2": (2,)}
parameters = {name: parameter(*shape) for name, shape in shapes.items()}


def network(points, w1, b1, w2, b2):
    """(N, 2) points to (N, 2) scores."""
    hidden = ops.tanh(points @ w1 + b1)  # (N, 16)
    return hidden @ w2 + b2


def loss_of(w1, b1, w2, b2):
    """How wrong the network is, as one number."""
    return ops.cross_entropy(network(md.tensor(points), w1, b1, w2, b2), labels)


# 4. Training: forward, backward, a step against the gradient ------------------------------------

for step in range(301):
    for p in parameters.values():
        p.grad = None  # gradients add up, so each step starts afresh
    loss = loss_of(**parameters)
    loss.backward()  # fills p.grad for every parameter
    for p in parameters.values():
        p.data -= 1.0 * p.grad
    if step % 100 == 0:
        with md.no_grad():  # nothing to remember here
            right = network(md.tensor(points), **parameters).data.argmax(axis=1) == labels
        print(f"step {step:3d}  loss {float(loss):.3f}  accuracy {right.mean():.3f}")

# 5. Is the gradient right? ----------------------------------------------------------------------
#
# The definition of a derivative is a difference: (f(x + h) - f(x - h)) / 2h. It needs two runs
# for every number, the tape one pass for all; on a small network we can afford to compare.

md.gradcheck(loss_of, list(parameters.values()))
print("gradcheck: the tape agrees with finite differences, for every parameter")

# 6. Derivatives of derivatives ------------------------------------------------------------------
#
# Rules are written in the same ops, so with create_graph=True the backward pass is taped as well.

x = md.tensor(3.0, requires_grad=True)
(first,) = md.grad(x**3, x, create_graph=True)
(second,) = md.grad(first, x)
print(f"x**3 at 3: first derivative {float(first):g}, second {float(second):g}")
