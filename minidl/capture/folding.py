"""A model for inference: normalisations folded into convolutions, weights packed once.

A batch normalisation in evaluation mode multiplies each channel and adds to it, and so can the
convolution before it, with other weights. Where a trace of the model shows a normalisation that
takes what a convolution gave, and nothing else does, the recorded call runs both as one.
"""

import functools
from collections import Counter
from typing import Any

import numpy as np

from minidl import kernels, ops
from minidl.autograd import Tensor
from minidl.autograd.held import proving
from minidl.autograd.hooks import op_hooks, register_op_hook
from minidl.autograd.unit import altered, same_bits
from minidl.capture.arguments import arrays_of, with_arrays
from minidl.capture.program import Program
from minidl.capture.proof import Saved
from minidl.errors import CaptureError, StateError
from minidl.exposed import Watch, owner, watch
from minidl.kernels import _jit, fold, memory
from minidl.nn import BatchNorm2d, Conv2d, DepthwiseConv2d, Module, PointwiseConv2d
from minidl.ops.activation import FUSED, activate
from minidl.recording import here, undone

__all__ = ["Inference", "record_model"]

TOLERANCE = 1e-5
NEVER = -1
CONVOLUTIONS = (Conv2d, PointwiseConv2d, DepthwiseConv2d)

# Kernels that make something of weights alone, by name, and how many of their arrays they read;
# the others they write.
PREPARATIONS = {
    "packing.pack_forward": 1, "packing._fill_up": 1, "winograd.transform_weights": 1,
    "_norm_columns.fold": 4, "fold._weight": 2, "fold._bias": 3,
}  # fmt: skip


class Inference(Program):
    """The recording of a model's call, with what it prepares from its weights kept.

    Before a replay each weight that somebody may have written to is read, all of it, and compared
    with its digest: what was changed is prepared anew.
    """

    writes = False

    def __init__(self, model: Module, arguments: Any) -> None:
        super().__init__(arguments)
        self._keeping = memory.Pool(shrinks=False)
        self._given = {_address(x) for x in self.arrays}
        self._pairs = {id(c): n for c, n in _pairs(model, self.inputs)}
        self._followed = {id(n) for n in self._pairs.values()}
        self._known: dict[int, np.ndarray] = {}  # by address: weights, and what is made of them
        self._sources: dict[int, np.ndarray] = {}
        self._made: set[int] = set()  # addresses of what is made of weights
        self._prepared: list[Any] = []
        self._watches: list[Watch] = []
        self._unit_began = 0  # among the preparations

    def record(self, function: Any) -> Any:
        here.keeps_weights = True
        try:
            result = super().record(function)
        finally:
            here.keeps_weights = False
        weights = list(self._sources.values())
        sizes = (-(-w.nbytes // (4 * fold.WORDS_A_DIGEST)) for w in weights)
        ends = np.cumsum([0, *sizes])
        self._digests = np.zeros(int(ends[-1]), np.int64)
        self._digest = [
            self.recorded(functools.partial(fold.digest, w, self._digests, int(at)))
            for w, at in zip(weights, ends[:-1], strict=True)
        ]
        self._prepare = self._grouped(self._prepared)
        for run in self._prepare:  # the proofs of units left other numbers there
            run()
        self._seen = self._digests.copy()
        return result

    def settle(self) -> None:
        """From here on the weights are only watched, so that they have no references but those
        that count."""
        sources = self._sources.values()
        self._watches, self._times = [watch(w) for w in sources], [NEVER] * len(sources)
        ids = {id(w) for w in sources}
        self._kept = [x for x in self._kept if id(owner(x)) not in ids]
        for launch in self._prepared:
            if launch.block is not None:
                launch.arguments = None
        self.seen, self.same = [], []
        self._sources, self._known, self.proved = {}, {}, True

    def replay(self, arrays: list[np.ndarray]) -> None:
        self._look_at_weights()
        super().replay(arrays)

    def _look_at_weights(self) -> None:
        """Prepare anew what is made of weights, if any was changed."""
        looked = False
        for i, runs in enumerate(self._digest):
            if self._may_have_changed(i):
                looked = True
                for run in runs:
                    run()
        if looked and not np.array_equal(self._digests, self._seen):
            for run in self._prepare:
                run()
            self._seen[:] = self._digests

    def _may_have_changed(self, i: int) -> bool:
        """Return whether somebody has, or had since the last look, a reference to source i."""
        if not self._watches:  # not settled yet
            return True
        watched, before = self._watches[i], self._times[i]
        times, alone = watched.times, watched.is_alone()
        self._times[i] = times if alone else NEVER
        return not alone or times != before

    def leaf(self, tensor: Any) -> None:
        super().leaf(tensor)
        if id(tensor) in self.leaves and _address(tensor._data) not in self._given:
            self._known.setdefault(_address(tensor._data), tensor._data)

    def launched(self, launch: Any) -> None:
        reads = PREPARATIONS.get(launch.name)
        arrays = [x for x in launch.arguments if isinstance(x, np.ndarray)]
        if reads is None or not all(_address(x) in self._known for x in arrays[:reads] if x.size):
            super().launched(launch)
            return
        for x in arrays[:reads]:
            source = self._known.get(_address(x))
            if source is not None and _address(x) not in self._made and x.size:
                self._sources[_address(x)] = source
        for x in arrays[reads:]:
            self._known[_address(x)] = x
            self._made.add(_address(x))
        self._kept += arrays  # so that nothing else takes their memory
        self._prepared.append(launch)

    def place(self) -> int:
        self._unit_began = len(self._prepared)
        return super().place()

    def launches_since(self, start: int) -> Any:
        """Preparations are a unit's, too, while it is proved."""
        items = self._prepared[self._unit_began :] + self.items[start:]
        return None if not items or any(map(callable, items)) else _jit.program(items)

    # Convolutions with the normalization after them

    def module(self, module: Any, inputs: Any, settings: Any) -> Any:
        for name in ("weight", "bias", "running_mean", "running_var"):
            if isinstance(held := getattr(module, name, None), Tensor):
                self.leaf(held)
        super().module(module, inputs, settings)
        if id(module) in self._pairs:
            return _Held(module, *inputs)
        if id(module) in self._followed and inputs and isinstance(inputs[0], _Held):
            return _run(inputs[0], module, *inputs[1:], **settings)
        return None


def record_model(model: Module, arguments: Any) -> Inference:
    """Return the recording of a model's call, proved.

    Raises StateError for parts in training mode; CaptureError where a replay on other numbers
    doesn't give the bits of a recording on them, or folding changes the outputs by more than
    TOLERANCE of the largest.
    """
    if training := [name for name, part in model.named_modules() if part.training]:
        raise StateError(
            f"md.compile: {', '.join(training)} of the compiled model is in training mode: call "
            "eval() on it first, or compile(lambda x: model(x))"
        )
    program = Inference(model, arguments)
    program.record(model)
    for folded, plain in zip(arrays_of(program.outputs), arrays_of(model(*arguments)), strict=True):
        largest = float(np.max(np.abs(plain), initial=0.0))
        if np.max(np.abs(folded - plain), initial=0.0) > TOLERANCE * largest:
            raise CaptureError(
                "md.compile: folded, the normalisations of this model change its outputs by more "
                f"than {TOLERANCE:g} of the largest, {largest:.3g}: compile(lambda x: model(x)) "
                "leaves them"
            )
    with proving(), (end := undone(Saved(program).restore)), end, np.errstate(all="ignore"):
        for x in program.lasting():
            if x.dtype.kind == "f" and x.flags.writeable:
                x[...] = altered(x)
        other = with_arrays(arguments, altered)
        expected = [x.copy() for x in arrays_of(Inference(model, other).record(model))]
        program.replay(arrays_of(other))
        found = arrays_of(program.outputs)
        if len(found) != len(expected) or not all(map(same_bits, found, expected)):
            raise CaptureError(
                "md.compile: replayed on other numbers, the model doesn't compute its outputs: it "
                "depends on values that were computed outside of minidl's ops"
            )
    program.settle()
    program.replay(arrays_of(arguments))
    return program


class _Held(Tensor):
    """What stands for a convolution's output until its normalisation comes: of no numbers."""

    __slots__ = ("module", "x")

    def __init__(self, module: Any, x: Any) -> None:
        super().__init__(np.broadcast_to(x.data.dtype.type(np.nan), (1,)))
        self.module, self.x = module, x


def _run(held: _Held, norm: Any, residual: Any = None) -> Any:
    """activation(norm(convolution(x)) + residual), as a convolution with other weights."""
    conv, of = held.module, kernels.use("fold")
    scale, shift = kernels.use("norm").folded(
        norm.weight.data, norm.bias.data, norm.running_mean.data, norm.running_var.data, norm.eps
    )
    weight = of.folded_weight(conv.weight.data, scale)
    bias = shift if conv.bias is None else of.folded_bias(conv.bias.data, scale, shift)
    activation = norm.activation if norm.activation in FUSED and residual is None else None
    settings = (conv.stride, conv.padding, conv.dilation)
    if isinstance(conv, DepthwiseConv2d):
        y = ops.depthwise_conv2d(held.x, weight, bias, *settings, activation=activation)
    else:
        y = ops.conv2d(held.x, weight, bias, *settings, conv.groups, activation=activation)
    if residual is not None:
        return _with_residual(y, residual, norm.activation)
    return y if activation == norm.activation else activate(y, norm.activation)


def _with_residual(y: Any, residual: Any, activation: str | None) -> Any:
    ones, zeros = np.ones(y.shape[-1], y.dtype), np.zeros(y.shape[-1], y.dtype)
    within = activation if activation in FUSED else None
    y = ops.norm.scale_shift(y, ones, zeros, residual, activation=within)
    return y if within == activation else activate(y, activation)


def _pairs(model: Module, arguments: Any) -> list[tuple[Any, Any]]:
    """Convolutions and normalisations, each called once, the one on what the other gave and alone
    reads."""
    outputs: dict[int, tuple[Any, Any]] = {}
    calls: Counter[int] = Counter()
    found: list[tuple[Any, Any, Any]] = []
    uses: Counter[int] = Counter()

    def after(module: Any, inputs: Any, output: Any) -> None:
        calls[id(module)] += 1
        if type(module) in CONVOLUTIONS and isinstance(output, Tensor):
            outputs[id(output)] = module, output
            uses[_address(output.data)] = 0  # others may have been at this address before
        elif inputs and id(inputs[0]) in outputs:
            conv, y = outputs[id(inputs[0])]
            found.append((conv, module, y))

    def used(op: Any, inputs: Any, settings: Any, output: Any) -> None:
        uses.update({_address(x) for x in inputs if isinstance(x, np.ndarray)})

    kinds = (*CONVOLUTIONS, BatchNorm2d)
    plain = [m for m in model.modules() if type(m) in kinds and not m._is_hooked()]

    def forget() -> None:
        told: list[tuple[Any, Any]] = [(op_hooks, used)]
        for hooks, mine in [*told, *((m._forward_hooks, after) for m in plain)]:
            while mine in hooks:
                hooks.remove(mine)

    with (end := undone(forget)), end:
        for module in plain:
            module.register_forward_hook(after)
        register_op_hook(used)
        result = model(*arguments)
    given = {_address(x) for x in arrays_of(result)}
    return [
        (conv, norm)
        for conv, norm, y in found
        if type(norm) is BatchNorm2d
        and conv.activation is None
        and calls[id(conv)] == calls[id(norm)] == 1
        and uses[_address(y.data)] == 1
        and _address(y.data) not in given
    ]


def _address(x: np.ndarray) -> int:
    return int(x.__array_interface__["data"][0])
