"""OpenVINO's side, from the ONNX graph that ONNX Runtime gets. Inference only."""

from collections.abc import Callable
from typing import Any

import openvino

from benchmarks.networks import Network
from benchmarks.onnx_graph import apart, images

_threads = 1


def set_threads(count: int) -> None:
    """Threads of the networks that are compiled from now on."""
    global _threads
    _threads = count


def compiled(content: bytes, network: Network, batch: int) -> Any:
    """What runs it, for this size of batch, which lets it choose better than for any size."""
    core = openvino.Core()
    graph = core.read_model(content, b"")
    graph.reshape([batch, network.channels, network.size, network.size])
    settings = {
        "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch
        "INFERENCE_NUM_THREADS": _threads,
        "INFERENCE_PRECISION_HINT": "f32",  # its own choice is bfloat16 where the CPU has it
    }
    return core.compile_model(graph, "CPU", settings)


def inference(network: Network, batch: int) -> Callable[[], Any]:
    """The scores of a batch."""
    request = compiled(apart(network), network, batch).create_infer_request()
    inputs = openvino.Tensor(images(network, batch))
    return lambda: request.infer([inputs])
