"""What each op is in ONNX: the table that exporting reads, and which ops have no form.

A form is a function of the graph and the call; it adds nodes and gives the call's output. A
composite op with a form is exported as one; any other as the primitives that it is made of. Every
primitive has a form, or stands in `WITHOUT`: a test goes through the table of ops.
"""

from collections.abc import Callable
from typing import Any

from minidl.errors import StateError
from minidl.io.onnx.exporting.graph import Graph
from minidl.io.onnx.exporting.tracing import Call

__all__ = ["FORMS", "WITHOUT", "add_call", "form", "has_form"]

Form = Callable[[Graph, Call], None]
FORMS: dict[str, Form] = {}
_when: dict[str, Callable[[dict[str, Any]], bool]] = {}

BACKWARD = "it belongs to a backward pass"
LOSS = "it belongs to a loss"
RANDOM = "it draws random numbers, as only training does"
LENGTHS = "sequences of different length have no form here: export it for whole ones"
REGIONS = "ONNX cuts boxes out of images in a form of its own"
WITHOUT = {
    "activation_gradient": BACKWARD,
    "adaptive_avg_pool2d_grad": BACKWARD,
    "avg_pool2d_grad": BACKWARD,
    "batch_norm_train": "it normalizes by the batch, as only training does",
    "conv2d_weight_grad": BACKWARD,
    "cross_entropy_forward": LOSS,
    "depthwise_conv2d_input_grad": BACKWARD,
    "depthwise_conv2d_weight_grad": BACKWARD,
    "dropout_forward": RANDOM,
    "gelu_grad": BACKWARD,
    "gru_steps": LENGTHS,
    "hardswish_grad": BACKWARD,
    "joint_sum": "it normalizes by a batch whose shards run side by side, as only training does",
    "linear_weight_grad": BACKWARD,
    "lstm_steps": LENGTHS,
    "max_pool2d_gather": BACKWARD,
    "max_pool2d_scatter": BACKWARD,
    "prelu_grad": BACKWARD,
    "rnn_steps": LENGTHS,
    "roi_align_forward": REGIONS,
    "roi_align_grad": BACKWARD,
    "roi_pool_forward": REGIONS,
    "roi_pool_gather": BACKWARD,
    "roi_pool_scatter": BACKWARD,
    "scatter_add": BACKWARD,
    "silu_grad": BACKWARD,
    "upsample_rows_grad": BACKWARD,
}
"""Primitives that no graph can hold, each with the reason that the error gives."""


def form(
    *names: str, when: Callable[[dict[str, Any]], bool] | None = None
) -> Callable[[Form], Form]:
    """Decorator: what the ops of these names are in ONNX.

    when: tells from a composite's arguments whether it has that form; otherwise its primitives do.
    """

    def declare(function: Form) -> Form:
        FORMS.update(dict.fromkeys(names, function))
        if when is not None:
            _when.update(dict.fromkeys(names, when))
        return function

    return declare


def has_form(name: str, arguments: dict[str, Any]) -> bool:
    """Return whether a call of an op is exported as one."""
    return name in FORMS and (name not in _when or _when[name](arguments))


def add_call(graph: Graph, call: Call) -> None:
    """Add a call of an op to the graph.

    Raises StateError, with the op and the module that called it, where it has no form.
    """
    graph.where = call.where
    if call.op not in FORMS:
        reason: Any = WITHOUT.get(call.op, "nothing in minidl says what it is in ONNX")
        raise StateError(
            f"export_onnx: {call.where or 'the model'} calls the op {call.op}, which can't be "
            f"exported: {reason}"
        )
    FORMS[call.op](graph, call)
