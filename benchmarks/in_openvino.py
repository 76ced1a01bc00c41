"""OpenVINO's side, from the ONNX graph that ONNX Runtime gets. Inference only."""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino

from benchmarks.networks import Network, draw_state
from benchmarks.onnx_graph import images, model

_threads = 1


def set_threads(count: int) -> None:
    """Threads of the networks that are compiled from now on."""
    global _threads
    _threads = count


def compiled(network: Network, state: list[dict[str, np.ndarray]], batch: int) -> Any:
    """What runs it, for this size of batch, which lets it choose better than for any size."""
    core = openvino.Core()
    content = core.read_model(model(network, state), b"")
    content.reshape([batch, network.channels, network.size, network.size])
    settings = {
        "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch
        "INFERENCE_NUM_THREADS": _threads,
        "INFERENCE_PRECISION_HINT": "f32",  # its own choice is bfloat16 where the CPU has it
    }
    return core.compile_model(content, "CPU", settings)


def inference(network: Network, batch: int) -> Callable[[], Any]:
    """The scores of a batch."""
    request = compiled(network, draw_state(network.layers), batch).create_infer_request()
    inputs = openvino.Tensor(images(network, batch))
    return lambda: request.infer([inputs])
