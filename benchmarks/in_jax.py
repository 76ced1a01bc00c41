"""JAX's side: one jitted function a step, channels last, as its own libraries write networks."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import networks as described
from benchmarks.networks import Network, draw_state

Step = Callable[[], Any]
LAYOUT = ("NHWC", "HWIO", "NHWC")
EPS, MOMENTUM = 1e-5, 0.1
RUNNING = ("running_mean", "running_var")


def set_threads(count: int) -> None:
    """XLA takes one thread for each core the process may use, so cores are what is given."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def apply(layers: Any, state: Iterator[Any], moved: list[Any], x: Any, training: bool) -> Any:
    """The output. `state` gives a dict for each leaf; running statistics go into `moved`."""
    for layer in layers:
        match layer:
            case described.Residual(body, shortcut):
                y = apply(body, state, moved, x, training)
                x = jax.nn.relu(y + apply(shortcut, state, moved, x, training))
                continue
            case described.DenseBlock(bodies):
                for body in bodies:
                    x = jnp.concatenate([x, apply(body, state, moved, x, training)], -1)
                continue
            case described.SqueezeExcite():
                means = x.mean((1, 2), keepdims=True)
                x = x * jax.nn.sigmoid(apply(layer.convs, state, moved, means, training))
                continue
        own = next(state)
        if isinstance(layer, described.BatchNorm):
            x, own = _normalised(x, own, training)
        else:
            x = _layer(layer, own, x)
        moved.append({name: own[name] for name in RUNNING if name in own})
        if getattr(layer, "relu", False):
            x = jax.nn.relu(x)
    return x


def _layer(layer: Any, own: dict[str, Any], x: Any) -> Any:
    match layer:
        case described.Conv(_, _, _, stride, padding):
            y = _convolution(x, own["weight"], stride, padding, layer.groups)
            return y + own["bias"] if layer.bias else y
        case described.Depthwise(c, k, stride, padding):
            return _convolution(x, own["weight"].reshape(k, k, 1, c), stride, padding, c)
        case described.MaxPool(k, stride, padding):
            ends = ((0, 0), (padding, padding), (padding, padding), (0, 0))
            window, steps = (1, k, k, 1), (1, stride, stride, 1)
            return lax.reduce_window(x, -jnp.inf, lax.max, window, steps, ends)
        case described.AvgPool(k):
            window = (1, k, k, 1)
            return lax.reduce_window(x, 0.0, lax.add, window, window, "VALID") / k**2
        case described.GlobalAvgPool():
            return x.mean((1, 2))
        case described.Flatten():
            return x.reshape(x.shape[0], -1)  # (N, H, W, C) -> (N, H*W*C)
        case described.Linear():
            return x @ own["weight"] + own["bias"]
        case described.Subsample(stride, before, after):
            return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (before, after)))
    raise TypeError(f"in_jax has no layer for {layer}: add it to _layer")


def _convolution(x: Any, weight: Any, stride: int, padding: int, groups: int) -> Any:
    return lax.conv_general_dilated(
        x, weight, (stride, stride), [(padding, padding)] * 2,
        dimension_numbers=LAYOUT, feature_group_count=groups,
    )  # fmt: skip


def _normalised(x: Any, own: dict[str, Any], training: bool) -> tuple[Any, dict[str, Any]]:
    mean, var = own["running_mean"], own["running_var"]
    if training:
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        count = x.size // x.shape[-1]
        new = {"running_mean": mean, "running_var": var * (count / (count - 1))}
        own = own | {name: own[name] + MOMENTUM * (new[name] - own[name]) for name in RUNNING}
    return (x - mean) * (own["weight"] * lax.rsqrt(var + EPS)) + own["bias"], own


def split(state: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    """What is trained, and what only moves along."""
    trained = [{k: v for k, v in own.items() if k not in RUNNING} for own in state]
    return trained, [{k: v for k, v in own.items() if k in RUNNING} for own in state]


def loss(network: Network, trained: Any, running: Any, images: Any, labels: Any) -> Any:
    """Cross-entropy in training, and the statistics as they are after it."""
    moved: list[Any] = []
    state = ({**a, **b} for a, b in zip(trained, running, strict=True))
    scores = apply(network.layers, state, moved, images, True)
    picked = jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], 1)
    return -picked.mean(), moved


def train_step(network: Network, batch: int, lr: float) -> Step:
    """The same step as the others, compiled as one; the old weights' memory is given back."""

    def update(trained: Any, running: Any, velocity: Any) -> Any:
        gradients, running = jax.grad(loss, 1, has_aux=True)(
            network, trained, running, images, labels
        )
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradients)
        return jax.tree.map(lambda p, v: p - lr * v, trained, velocity), running, velocity

    images, labels = _images(network, batch), jnp.arange(batch) % network.classes
    trained, running = jax.tree.map(jnp.asarray, split(draw_state(network.layers)))
    now = [trained, running, jax.tree.map(jnp.zeros_like, trained)]
    compiled = jax.jit(update, donate_argnums=(0, 1, 2))

    def step() -> Any:
        now[:] = jax.block_until_ready(compiled(*now))
        return now[0]

    return step


def inference(network: Network, batch: int) -> Step:
    """The scores of a batch."""
    images = _images(network, batch)
    state = jax.tree.map(jnp.asarray, draw_state(network.layers))
    compiled = jax.jit(lambda state, x: apply(network.layers, iter(state), [], x, False))
    return lambda: jax.block_until_ready(compiled(state, images))


def _images(network: Network, batch: int) -> Any:
    shape = (batch, network.size, network.size, network.channels)
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))
