"""`minidl bench --distributed`: the model, its fit, and its table in docs/distributed.md."""

from pathlib import Path

import numpy as np
import pytest

from minidl.bench import scaling
from minidl.bench.scaling import SHARDS, predicted

PAGE = Path(__file__).resolve().parents[2] / "docs" / "distributed.md"
EXAMPLE = {"shard": 0.1, "once": 0.0, "bytes": 44_730_000, "latency": 0.0, "bandwidth": np.inf}


def test_a_step_by_hand():
    """3 of 8 shards on the slowest of 3 ranks, 4 rounds of messages, 4/3 of the bytes."""
    model = {"shard": 0.5, "once": 0.25, "latency": 1e-3, "bandwidth": 2e6, "bytes": 3e6}
    assert predicted(model, 3, 8) == pytest.approx(3 * 0.5 + 0.25 + 4 * 1e-3 + 3e6 * 4 / 3 / 2e6)


def test_the_fit_finds_what_the_measurements_were_made_with():
    made = {"shard": 0.02, "once": 0.005, "latency": 3e-5, "bandwidth": 4e8, "bytes": 250_000}
    name, ranks = "lenet5", 4
    about = {"network": name, "bytes": made["bytes"]}
    rows = [{**about, "ranks": 1, "shards": SHARDS, "step": predicted(made, 1, SHARDS)}]
    halves = [{**about, "step": predicted(made, 1, SHARDS // 2)}]
    idle = made | {"shard": 0.0, "once": 0.0}
    sums = [[n, predicted(idle | {"bytes": n}, ranks, SHARDS)] for n in (1e3, 1e5, 1e7)]
    found = scaling._fitted(rows, halves, sums, ranks)[name]
    assert found == pytest.approx(made)


def test_the_table_of_the_page_is_the_models():
    text = PAGE.read_text(encoding="utf-8")
    table = text.split("<!-- scaling -->")[1].split("<!-- /scaling -->")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert rows[0] == ["machines", *scaling.OTHERS]
    for ranks, *cells in rows[1:]:
        for cell, (latency, bandwidth) in zip(cells, scaling.OTHERS.values(), strict=True):
            model = EXAMPLE | {"latency": latency, "bandwidth": bandwidth}
            n = int(ranks)
            gain = n * predicted(model, 1, SHARDS) / predicted(model, n, SHARDS * n)
            assert cell == f"{gain:.1f}"
    assert [int(row[0]) for row in rows[1:]] == list(scaling.MACHINES[1:])
