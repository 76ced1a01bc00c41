"""minidl's network as an ONNX file, channels first: what in_onnx and in_openvino run."""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.networks import Network, draw_state


def apart(network: Network) -> bytes:
    """`model` of the network with the weights that every side draws, made in a process of its
    own, so that the one that is measured never imports minidl."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as writer:
        return writer.submit(model, network, draw_state(network.layers)).result()


def model(network: Network, state: list[dict[str, np.ndarray]]) -> bytes:
    """The network as the content of an ONNX file that takes images (N, C, H, W)."""
    import minidl as md
    from benchmarks import in_minidl

    built = in_minidl.build(network.layers)
    arrays = (array for own in state for array in own.values())
    built.load_state_dict(dict(zip(built.state_dict(), arrays, strict=True)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        shape = (network.size, network.size, network.channels)
        md.export_onnx(built.eval(), path, shape, layout="NCHW")
        return path.read_bytes()


def images(network: Network, batch: int) -> np.ndarray:
    """A batch of noise, (N, C, H, W)."""
    shape = (batch, network.channels, network.size, network.size)
    return np.random.default_rng(0).standard_normal(shape, np.float32)
