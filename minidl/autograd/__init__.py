"""Automatic differentiation: tensors, primitives, the backward pass, gradient checks."""

from minidl.autograd.creation import from_numpy, tensor
from minidl.autograd.engine import detect_anomaly, enable_grad, no_grad
from minidl.autograd.gradcheck import gradcheck
from minidl.autograd.hooks import register_op_hook
from minidl.autograd.jacobian import hessian, jacobian, jvp
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.tensor import Tensor, grad

__all__ = [
    "Tensor",
    "composite",
    "detect_anomaly",
    "enable_grad",
    "from_numpy",
    "grad",
    "gradcheck",
    "hessian",
    "jacobian",
    "jvp",
    "no_grad",
    "primitive",
    "register_op_hook",
    "tensor",
]
