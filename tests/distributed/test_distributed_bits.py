"""A training has the same bits on 1, 2 and 4 ranks, and without a launcher."""

import pytest
from ranks import HERE, run

SCRIPT = HERE / "same_bits.py"


@pytest.fixture(scope="module")
def without_mpi():
    return run(None, SCRIPT, "cases").found


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_same_bits_for_any_number_of_ranks(ranks, without_mpi):
    found = run(ranks, SCRIPT, "cases").found
    assert found.pop("ranks") == ranks
    expected = {name: digest for name, digest in without_mpi.items() if name != "ranks"}
    assert found == expected
    assert len({*expected.values()}) == len(expected)


def test_ranks_of_different_numbers_of_shards():
    """Three ranks have 1, 1 and 2 of four shards."""
    expected = run(None, SCRIPT, "everything").found
    assert run(3, SCRIPT, "everything").found == expected | {"ranks": 3}


def test_resumes_to_the_bit_on_another_number_of_ranks(tmp_path):
    expected = run(None, SCRIPT, "everything").found["everything"]
    assert run(4, SCRIPT, "interrupted", tmp_path).found["interrupted"] == "stopped"
    for ranks in (None, 2):
        assert run(ranks, SCRIPT, "resumed", tmp_path).found["resumed"] == expected
