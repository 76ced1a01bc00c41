"""ONNX Runtime's side. Inference only."""

from collections.abc import Callable
from typing import Any

import onnxruntime

from benchmarks.networks import Network
from benchmarks.onnx_graph import apart, images

_threads = 1


def set_threads(count: int) -> None:
    """Threads of the sessions that are made from now on."""
    global _threads
    _threads = count


def session(content: bytes) -> Any:
    """What runs it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = _threads, 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def inference(network: Network, batch: int) -> Callable[[], Any]:
    """The scores of a batch."""
    runner, inputs = session(apart(network)), images(network, batch)
    return lambda: runner.run(None, {"input": inputs})
