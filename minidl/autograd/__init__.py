"""Automatic differentiation: tensors, primitives, the backward pass, gradient checks."""

from minidl.autograd.checkpoint import checkpoint
from minidl.autograd.creation import (
    arange,
    from_numpy,
    full,
    ones,
    rand,
    randn,
    tensor,
    zeros,
)
from minidl.autograd.gradcheck import gradcheck
from minidl.autograd.grads import grad
from minidl.autograd.hooks import register_op_hook
from minidl.autograd.jacobian import hessian, jacobian, jvp
from minidl.autograd.modes import detect_anomaly, enable_grad, no_grad
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.tensor import Tensor

__all__ = [
    "Tensor",
    "arange",
    "checkpoint",
    "composite",
    "detect_anomaly",
    "enable_grad",
    "from_numpy",
    "full",
    "grad",
    "gradcheck",
    "hessian",
    "jacobian",
    "jvp",
    "no_grad",
    "ones",
    "primitive",
    "rand",
    "randn",
    "register_op_hook",
    "tensor",
    "zeros",
]
