"""Each op on each of its samples: for the op tests, the live comparisons and the recording."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

import minidl as md
from minidl.autograd.samples import Sample
from minidl.autograd.tensor import ops

OPS = dict(sorted(ops.items()))


@dataclass
class Case:
    """An op, a sample of it, and which inputs have a gradient."""

    name: str
    index: int
    sample: Sample

    @property
    def op(self) -> Any:
        return OPS[self.name]

    def __str__(self) -> str:
        return f"{self.name}-{self.index}"

    @property
    def differentiable(self) -> list[int]:
        """Positions of the float arrays among the inputs that have a gradient.

        As the op declares it: to run the op, each process would have to compile it first.
        """
        return [
            i
            for i, x in enumerate(self.sample.inputs)
            if isinstance(x, np.ndarray)
            and x.dtype.kind == "f"
            and i < (len(self.op.array_names) if not self.op.variadic else i + 1)
            and self.op.differentiable(i)
        ]

    def outputs(self, inputs: Any) -> list[Any]:
        """The op's outputs as a list, without those that weren't asked for."""
        return several(self.op(*inputs, **self.sample.settings))

    def function(self) -> tuple[Any, list[np.ndarray]]:
        """The op as a function of its differentiable inputs alone, and those inputs."""
        places = self.differentiable

        def function(*arrays: Any) -> list[Any]:
            inputs = list(self.sample.inputs)
            for place, array in zip(places, arrays, strict=True):
                inputs[place] = array
            return self.outputs(inputs)

        return function, [self.sample.inputs[i] for i in places]

    def run(self, change: Any = lambda x: x) -> dict[str, np.ndarray]:
        """Outputs and gradients by minidl, for gradients of the outputs from `cotangents`.

        change: a function that each input array goes through first.
        """
        tensors = {
            i: md.from_numpy(change(self.sample.inputs[i]), requires_grad=True)
            for i in self.differentiable
        }
        inputs = [
            tensors.get(i, change(x) if isinstance(x, np.ndarray) else x)
            for i, x in enumerate(self.sample.inputs)
        ]
        outputs = self.outputs(inputs)
        found = {
            f"output{i}": np.asarray(getattr(out, "data", out)) for i, out in enumerate(outputs)
        }
        if tensors:
            total = sum(
                (out * v).sum()
                for out, v in zip(outputs, cotangents(found), strict=True)
                if isinstance(out, md.Tensor) and out.requires_grad
            )
            if isinstance(total, md.Tensor):
                total.backward()
            for i, tensor in tensors.items():
                grad = np.zeros_like(tensor.data) if tensor.grad is None else tensor.grad
                found[f"grad{i}"] = grad
        return found

    def run_oracle(self, torch: Any) -> dict[str, np.ndarray]:
        """The same by the op's oracle."""
        tensors = {
            i: torch.tensor(self.sample.inputs[i], requires_grad=True) for i in self.differentiable
        }
        labels = {i for i in range(len(self.op.array_names)) if self.op.is_label(i)}
        inputs = [
            tensors[i]
            if i in tensors
            else torch.tensor(x)
            if isinstance(x, np.ndarray) and (i not in labels or x.dtype == bool)
            else x
            for i, x in enumerate(self.sample.inputs)
        ]
        outputs = several(self.op.oracle(torch, *inputs, **self.sample.settings))
        found = {f"output{i}": out.detach().numpy() for i, out in enumerate(outputs)}
        if tensors:
            total = sum(
                (out * torch.tensor(v)).sum()
                for out, v in zip(outputs, cotangents(found), strict=True)
                if out.requires_grad
            )
            grads = torch.autograd.grad(total, list(tensors.values()), allow_unused=True)
            for (i, tensor), g in zip(tensors.items(), grads, strict=True):
                found[f"grad{i}"] = (torch.zeros_like(tensor) if g is None else g).numpy()
        return found


def several(result: Any) -> list[Any]:
    """One output or several as a list, without None."""
    outputs = result if isinstance(result, tuple | list) else (result,)
    return [y for y in outputs if y is not None]


def cotangents(found: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Random gradients of the outputs, the same for minidl and its oracles."""
    random = np.random.default_rng(7)
    outputs = [array for name, array in found.items() if name.startswith("output")]
    return [random.standard_normal(out.shape).astype(out.dtype) for out in outputs]


@functools.cache
def cases(dtype: Any = np.float64) -> list[Case]:
    """Every op on every one of its samples."""
    return [
        Case(name, index, sample)
        for name, op in OPS.items()
        for index, sample in enumerate(op.sample_inputs(dtype))
    ]


def largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of two arrays, relative to the largest entry of `b`."""
    assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
    if a.size == 0:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)) if np.any(a != b) else 0.0
