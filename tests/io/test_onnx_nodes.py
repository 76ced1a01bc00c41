"""ONNX's own tests of its operators: those that passed once pass, the others are refused."""

import json

import pytest

pytest.importorskip("onnx", reason='needs onnx: pip install "minidl[interop]"')
from onnx_node_tests import DOCS, PASSING, cases, operators_of, outcome, table


@pytest.fixture(scope="module")
def outcomes():
    return {name: (outcome(model, sets), operators_of(model)) for name, model, sets in cases()}


def test_what_passed_passes(outcomes):
    recorded = json.loads(PASSING.read_text(encoding="utf-8"))
    assert len(recorded) > 1400
    known = [name for name in recorded if name in outcomes]
    assert len(known) > 0.9 * len(recorded)
    failing = {name: outcomes[name][0] for name in known if outcomes[name][0] != "passes"}
    assert not failing


def test_the_table_is_of_these_tests(outcomes):
    told = {name: found for name, (found, _) in outcomes.items()}
    if set(json.loads(PASSING.read_text(encoding="utf-8"))) - told.keys():
        pytest.skip("another version of onnx has other tests")
    written = DOCS.read_text(encoding="utf-8")
    assert table(told, {name: operators for name, (_, operators) in outcomes.items()}) in written


def test_refusals_name_operator_and_node(outcomes):
    refused = {n: told for n, (told, _) in outcomes.items() if told.startswith("FileFormatError")}
    assert len(refused) > 300
    silent = {
        name: told for name, told in refused.items()
        if "node" not in told and "the test" not in told
    }  # fmt: skip
    assert not silent
