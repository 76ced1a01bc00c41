"""Networks from files of weights: their probabilities, and what their classes are called."""

import numpy as np
import pytest
from cli_members import answers, network, written
from pictures import picture

from minidl.data import ArrayDataset
from minidl.errors import ArgumentError
from minidl.train.inference import class_numbers, load_members, log_probabilities


def test_the_mode_and_the_state_of_the_network_stay():
    model = network(["a", "b"]).train()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    pixels = np.stack([picture(32, 32, seed=s) for s in range(3)])
    found = log_probabilities(model, ArrayDataset(pixels), 2)
    assert model.training
    for name, array in model.state_dict().items():  # BatchNorm's running figures among them
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_allclose(np.exp(found), answers(model.eval(), pixels), rtol=1e-5)


def test_names_of_imagenets_lists(tmp_path):
    """A class is known by its number there, by its words, and by the first of them if it is alone
    in that."""
    lines = [
        "n02012849 crane", "n01440764 tench, Tinca tinca", "n03126707 crane, hoist", "zebra, plain",
    ]  # fmt: skip
    (tmp_path / "words.txt").write_text("\n".join(lines))
    file = written(tmp_path / "w.h5", network(None, count=4))
    members = load_members([file], tmp_path / "words.txt")
    assert members.names == ["crane", "tench, Tinca tinca", "crane, hoist", "zebra, plain"]
    for number, names in enumerate(
        (["n02012849"], ["n01440764", "tench", "tench, Tinca tinca"], ["n03126707", "crane, hoist"],
         ["zebra, plain"])
    ):  # fmt: skip
        for name in names:
            assert class_numbers(members, [name]) == ([number], [])
    for name in ("crane", "zebra", "hoist", "0"):
        with pytest.raises(ArgumentError, match=f"doesn't know: {name}; it knows crane"):
            class_numbers(members, [name])
    assert class_numbers(members, ["3", "0"], are_numbers=True)[0] == [3, 0]


def test_no_file_is_no_network():
    with pytest.raises(ArgumentError, match="weights= names no file"):
        load_members([])
