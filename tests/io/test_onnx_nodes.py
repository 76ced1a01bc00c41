"""ONNX's own tests of its operators: those that passed once pass, the others are refused."""

import json

import pytest

pytest.importorskip("onnx", reason='needs onnx: pip install "minidl[interop]"')
from onnx_node_tests import DOCS, PASSING, cases, result, table


@pytest.fixture(scope="module")
def results():
    return {name: result(model, sets) for name, model, sets in cases()}


def test_what_passed_passes(results):
    recorded = json.loads(PASSING.read_text(encoding="utf-8"))
    assert len(recorded) > 1400
    known = [name for name in recorded if name in results]
    assert len(known) > 0.9 * len(recorded)
    failing = {name: results[name].told for name in known if not results[name].passes}
    assert not failing


def test_the_table_is_of_these_tests(results):
    if set(json.loads(PASSING.read_text(encoding="utf-8"))) - results.keys():
        pytest.skip("another version of onnx has other tests")
    assert table(results) in DOCS.read_text(encoding="utf-8")


def test_the_operators_of_cnns(results):
    """All pass but those that ask for NumPy's random numbers."""
    of_cnns = {name: found for name, found in results.items() if "cnn" in found.sets}
    assert len(of_cnns) > 400
    failing = {name for name, found in of_cnns.items() if not found.passes}
    assert {name.removesuffix("_mask") for name in failing} == {
        "test_training_dropout", "test_training_dropout_default",
    }  # fmt: skip


def test_refusals_name_operator_and_node(results):
    refused = {n: r.told for n, r in results.items() if r.told.startswith("FileFormatError")}
    assert len(refused) > 300
    silent = {
        name: told for name, told in refused.items()
        if "node" not in told and "the test" not in told
    }  # fmt: skip
    assert not silent
