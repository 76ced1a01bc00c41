"""ONNX's own tests of its operators, run on the importer: `python tests/io/onnx_node_tests.py`.

With --write, the names of those that pass are recorded in onnx_passing.json and the table of
docs/onnx.md is written anew.
"""

import argparse
import re
import sys
import warnings
from pathlib import Path

import numpy as np

import minidl as md
from minidl.errors import MinidlError
from minidl.io.onnx.importing import import_model
from minidl.io.onnx.messages import parse_model
from minidl.io.onnx.table import OPERATORS

HERE = Path(__file__).parent
PASSING, DOCS = HERE / "onnx_passing.json", HERE.parents[1] / "docs" / "onnx.md"
KINDS = ("node", "pytorch-converted", "pytorch-operator", "simple")
BEGIN, END = "<!-- node tests: begin -->", "<!-- node tests: end -->"

CONVOLUTIONAL = {
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
    "BatchNormalization", "LRN", "InstanceNormalization", "GroupNormalization", "Relu",
    "LeakyRelu", "PRelu", "Elu", "Selu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Softmax",
    "LogSoftmax", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Clip", "Concat", "Flatten",
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Pad", "Dropout", "Identity", "DepthToSpace",
    "SpaceToDepth", "Upsample", "Split", "Slice", "Gather", "ReduceMean", "Sum", "Mean", "Max",
    "Min", "Softplus", "Mish", "Constant", "Shape",
}  # fmt: skip


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


def outcome(model, sets):
    """Return "passes", or why not."""
    try:
        run(model, sets)
    except (MinidlError, AssertionError) as error:
        text = re.sub(r"\s+", " ", str(error)).removeprefix("ONNX operator ")
        return f"{type(error).__name__}: {text[:230]}"
    return "passes"


def operators_of(model):
    return {node.op for node in parse_model(memoryview(model), "the test").graph.nodes}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="record what passes")
    parser.add_argument("--match", default="", help="only tests whose name has this in it")
    parser.add_argument("--failing", action="store_true", help="show why others fail")
    options = parser.parse_args()
    outcomes, known, total = {}, 0, 0
    for name, model, sets in cases():
        if options.match not in name:
            continue
        try:
            told = outcome(model, sets)
        except Exception as error:
            told = f"CRASH {type(error).__name__}: {error}"[:300]
        outcomes[name] = told
        try:
            has = operators_of(model) <= OPERATORS.keys()
        except MinidlError:
            has = False
        known, total = known + has, total + 1
        if options.failing and told != "passes" and (has or told.startswith("CRASH")):
            print(f"{name}: {told}")
    passing = sorted(name for name, told in outcomes.items() if told == "passes")
    print(f"{len(passing)} of {total} pass; minidl has all operators of {known}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
