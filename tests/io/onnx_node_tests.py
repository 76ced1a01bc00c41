"""ONNX's own tests of its operators, run on the importer: `python tests/io/onnx_node_tests.py`.

It counts three sets: all tests; those of one operator that minidl has by name; and of these, what a
CNN over images is made of (CNN below), of arrays with four axes or fewer and numbers that minidl
computes with.

With --write, the names of those that pass are recorded in onnx_passing.json and the table of
docs/onnx.md is written anew.
"""

import argparse
import json
import re
import warnings
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

import minidl as md
from minidl.errors import MinidlError
from minidl.io.onnx.importing import import_model
from minidl.io.onnx.messages import parse_model
from minidl.io.onnx.table import OPERATORS

HERE = Path(__file__).parent
PASSING, DOCS = HERE / "onnx_passing.json", HERE.parents[1] / "docs" / "onnx.md"
KINDS = ("node", "pytorch-converted", "pytorch-operator", "simple")
# The operators of a CNN over images, without Cast and Resize
WINDOWED = {
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace",
    "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "LRN",
    "LpPool", "MaxPool", "SpaceToDepth", "Upsample",
}  # fmt: skip
CNN = WINDOWED | {
    "Abs", "Add", "Celu", "Clip", "Concat", "Constant", "ConstantOfShape", "Div", "Dropout", "Elu",
    "Exp", "Expand", "Flatten", "Gather", "Gelu", "Gemm", "HardSigmoid", "HardSwish", "Identity",
    "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "MatMul", "Max",
    "Mean", "MeanVarianceNormalization", "Min", "Mish", "Mul", "Neg", "PRelu", "Pad", "Pow",
    "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Selu",
    "Shape", "Sigmoid", "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Squeeze",
    "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
NAMES = {"has": "of an operator that minidl has by name", "cnn": "of a CNN's operators in 2-D"}

BEGIN, END = "<!-- node tests: begin -->", "<!-- node tests: end -->"


def cases(kinds=KINDS):
    """Yield (name, bytes of a model, [(inputs, outputs)]) of each test."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for kind in kinds:
            for case in load_model_tests(kind=kind):
                if case.model is not None:
                    sets = [[list(map(_array, part)) for part in data] for data in case.data_sets]
                    yield case.name, case.model.SerializeToString(), sets
                elif case.model_dir is not None:
                    folder = Path(case.model_dir)
                    sets = [_data(data) for data in sorted(folder.glob("test_data_set_*"))]
                    yield case.name, (folder / "model.onnx").read_bytes(), sets


def _data(folder):
    return [
        [_tensor(folder / f"{kind}_{i}.pb") for i in range(len(list(folder.glob(f"{kind}_*"))))]
        for kind in ("input", "output")
    ]


def _array(given):
    """Return a test's array, which may be a message."""
    if isinstance(given, np.ndarray | np.generic) or not hasattr(given, "raw_data"):
        return given
    from onnx import numpy_helper

    return numpy_helper.to_array(given)


def _tensor(path):
    """Return the array in a file of one tensor, None if it is of something else."""
    import onnx
    from onnx import numpy_helper

    message = onnx.TensorProto()
    try:
        message.ParseFromString(path.read_bytes())
        return np.asarray(numpy_helper.to_array(message))
    except Exception:
        return None


def run(model, sets):
    """Run a test; raise what the importer raises, or AssertionError."""
    parts = import_model(parse_model(memoryview(model), "the test"))
    body = parts.body.eval()
    for given, wanted in sets:
        found = forward(parts, given[: len(body.inputs)])
        assert len(found) == len(wanted)
        for mine, theirs in zip(found, wanted, strict=True):
            assert isinstance(theirs, np.ndarray | np.generic)
            assert mine.shape == theirs.shape, (mine.shape, theirs.shape)
            assert mine.dtype == theirs.dtype, (mine.dtype, theirs.dtype)
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-5)


def forward(parts, given):
    """Return outputs as the file has them, for inputs as the file has them."""
    last = parts.head if parts.head is not None else parts.body
    turned = [
        x.transpose(0, 2, 3, 1) if port.channels_last and x.ndim == 4 else x
        for port, x in zip(parts.body.inputs, given, strict=True)
    ]
    with md.no_grad():
        y = parts.body(*turned)
        y = y if parts.head is None else parts.head.eval()(y)
        y = y if parts.ending is None else getattr(md.ops, parts.ending.lower())(y)
    found = y if isinstance(y, tuple) else (y,)
    return [
        x.data.transpose(0, 3, 1, 2) if port.channels_last and x.ndim == 4 else x.data
        for port, x in zip(last.outputs, found, strict=True)
    ]


class Result(NamedTuple):
    """told: "passes", or why not.  operators: the graph's.  sets: which of NAMES it belongs to."""

    told: str
    operators: set[str]
    sets: tuple[str, ...]

    @property
    def passes(self):
        return self.told == "passes"


def result(model, sets):
    operators = operators_of(model)
    return Result(outcome(model, sets), operators, sets_of(operators, sets))


def sets_of(operators, sets):
    """Return the sets, of NAMES, that a test of these operators and arrays belongs to."""
    if len(operators) != 1 or not operators <= OPERATORS.keys():
        return ()
    (op,), arrays = operators, [x for data in sets for part in data for x in part]
    known = all(isinstance(x, np.ndarray | np.generic) for x in arrays)
    known = known and all(np.dtype(x.dtype).char in "?bBhHiIlLqQfd" for x in arrays)
    planar = known and all(np.ndim(x) <= 4 for x in arrays)
    if op in WINDOWED:
        planar = planar and np.ndim(sets[0][0][0]) == 4
    return ("has", "cnn") if op in CNN and planar else ("has",)


def outcome(model, sets):
    """Return "passes", or why not."""
    try:
        run(model, sets)
    except (MinidlError, AssertionError) as error:
        text = re.sub(r"\s+", " ", str(error)).removeprefix("ONNX operator ")
        return f"{type(error).__name__}: {text[:230]}"
    return "passes"


def operators_of(model):
    """Return the names of a model's operators, none where minidl doesn't read it."""
    try:
        nodes = parse_model(memoryview(model), "the test").graph.nodes
    except MinidlError:
        return {"unread"}
    return {node.op for node in nodes}


def table(results):
    """Return the rows of docs/onnx.md: for each operator, how many of its tests pass."""
    counts = defaultdict(lambda: [0, 0])
    for found in results.values():
        ops = found.operators
        row = counts[next(iter(ops)) if len(ops) == 1 else "several operators"]
        row[0] += found.passes
        row[1] += 1
    known = {op: row for op, row in counts.items() if op in OPERATORS or " " in op}
    cells = [f"{op} {good}/{total}" for op, (good, total) in sorted(known.items())]
    missing = sorted(op for op in counts if op not in known)
    return (
        f"{tally(results)}\n\nPassed and all tests of each operator that minidl has:\n\n"
        f"{', '.join(cells)}.\n\nNot there: {', '.join(missing)}.\n"
    )


def tally(results):
    """Return how many pass of all and of each set of NAMES, and what fails of the last."""
    good = sum(found.passes for found in results.values())
    lines = [f"{good:,} of {len(results):,} tests pass (onnx {version('onnx')}):"]
    for name, words in NAMES.items():
        inside = {n: found for n, found in results.items() if name in found.sets}
        good = sum(found.passes for found in inside.values())
        lines.append(f"- {good:,} of the {len(inside):,} {words}")
    failing = [n for n, found in inside.items() if not found.passes]
    counts = Counter(next(iter(found.operators)) for found in inside.values())
    cells = ", ".join(f"{op} {count}" for op, count in sorted(counts.items()))
    return "\n".join([lines[0], "", *lines[1:-1], f"{lines[-1]} ({cells}){_but(failing)}"])


def _but(failing):
    return f", all but {', '.join(failing)}" if failing else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="record what passes")
    parser.add_argument("--match", default="", help="only tests whose name has this in it")
    parser.add_argument("--failing", action="store_true", help="show why others fail")
    options = parser.parse_args()
    results = {}
    for name, model, sets in cases():
        if options.match in name:
            results[name] = found = result(model, sets)
            if options.failing and not found.passes:
                print(f"{name}: {found.told}")
    passing = sorted(name for name, found in results.items() if found.passes)
    print(tally(results))
    if options.write:
        PASSING.write_text(json.dumps(passing, indent=0) + "\n", encoding="utf-8")
        before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
        text = f"{before}{BEGIN}\n{table(results)}{END}{rest.partition(END)[2]}"
        DOCS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
