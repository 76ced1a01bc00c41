"""ONNX's own tests of its operators, run on the importer: `python tests/io/onnx_node_tests.py`.

With --write, the names of those that pass are recorded in onnx_passing.json and the table of
docs/onnx.md is written anew.
"""

import argparse
import json
import re
import warnings
from collections import defaultdict
from importlib.metadata import version
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
    """Return the names of a model's operators, none where minidl doesn't read it."""
    try:
        nodes = parse_model(memoryview(model), "the test").graph.nodes
    except MinidlError:
        return {"unread"}
    return {node.op for node in nodes}


def table(outcomes, operators):
    """Return the rows of docs/onnx.md: for each operator, how many of its tests pass."""
    counts = defaultdict(lambda: [0, 0])
    for name, told in outcomes.items():
        found = operators[name]
        row = counts[next(iter(found)) if len(found) == 1 else "several operators"]
        row[0] += told == "passes"
        row[1] += 1
    known = {op: row for op, row in counts.items() if op in OPERATORS or " " in op}
    cells = [f"{op} {good}/{total}" for op, (good, total) in sorted(known.items())]
    missing = sorted(op for op in counts if op not in known)
    return (
        f"{sum(told == 'passes' for told in outcomes.values()):,} of {len(outcomes):,} tests pass "
        f"(onnx {version('onnx')}). Passed and all tests of each operator that minidl has:\n\n"
        f"{', '.join(cells)}.\n\nNot there: {', '.join(missing)}.\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="record what passes")
    parser.add_argument("--match", default="", help="only tests whose name has this in it")
    parser.add_argument("--failing", action="store_true", help="show why others fail")
    options = parser.parse_args()
    outcomes, operators = {}, {}
    for name, model, sets in cases():
        if options.match in name:
            outcomes[name], operators[name] = outcome(model, sets), operators_of(model)
            if options.failing and outcomes[name] != "passes":
                print(f"{name}: {outcomes[name]}")
    passing = sorted(name for name, told in outcomes.items() if told == "passes")
    known = sum(found <= OPERATORS.keys() for found in operators.values())
    print(f"{len(passing)} of {len(outcomes)} pass; minidl has all operators of {known}")
    if options.write:
        PASSING.write_text(json.dumps(passing, indent=0) + "\n", encoding="utf-8")
        before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
        text = f"{before}{BEGIN}\n{table(outcomes, operators)}{END}{rest.partition(END)[2]}"
        DOCS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
