"""Who takes part: every form of every library."""

from dataclasses import dataclass, field
from typing import Any

from minidl.bench.processes import TUNED_MALLOC, installed
from minidl.errors import ArgumentError

MINIDL, EAGER = "minidl", "minidl eager"


@dataclass(frozen=True)
class Side:
    """module: in benchmarks; config: settings of `md.config`; form: what its functions are told."""

    name: str
    packages: tuple[str, ...]
    module: str
    environment: dict[str, str] = field(default_factory=dict)
    form: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    trains: bool = True


LAST = {"last": True}
TORCH = ("torch",)
DEFAULT_FORMS = ("torch NCHW", "torch last")  # channels last, that is
TUNED_FORMS = ("torch NCHW tuned", "torch last tuned")

SIDES = {
    side.name: side
    for side in (
        Side(MINIDL, (), "in_minidl"),
        Side(EAGER, (), "in_minidl", form={"eager": True}),
        Side("torch NCHW", TORCH, "in_torch"),
        Side("torch last", TORCH, "in_torch", form=LAST),
        Side("torch NCHW tuned", TORCH, "in_torch", TUNED_MALLOC),
        Side("torch last tuned", TORCH, "in_torch", TUNED_MALLOC, LAST),
        Side("JAX", ("jax",), "in_jax"),
        Side("ONNX Runtime", ("onnx", "onnxruntime"), "in_onnx", trains=False),
        Side("OpenVINO", ("onnx", "openvino"), "in_openvino", trains=False),
        # minidl with one algorithm for every convolution that it takes; see benchmarks.kernels
        Side("minidl direct", (), "in_minidl", config={"convolution": "direct"}),
        Side("minidl winograd", (), "in_minidl", config={"convolution": "winograd"}),
        Side("minidl winograd2", (), "in_minidl", config={"convolution": "winograd2"}),
        Side("minidl im2col", (), "in_minidl", config={"convolution": "im2col"}),
    )
}


def absent(side: Side) -> str:
    """Why a side can't take part; "" if it can."""
    missing = [package for package in side.packages if not installed(package)]
    return f"not installed: {', '.join(missing)}" if missing else ""


def pick(names: list[str], among: list[str]) -> tuple[list[Side], dict[str, str]]:
    """The sides of these names that can take part, and why the others can't."""
    if unknown := [name for name in names if name not in among]:
        raise ArgumentError(f"no side {', '.join(unknown)}: there are {', '.join(among)}")
    reasons = {name: absent(SIDES[name]) for name in names}
    here = [SIDES[name] for name in names if not reasons[name]]
    return here, {name: reason for name, reason in reasons.items() if reason}
