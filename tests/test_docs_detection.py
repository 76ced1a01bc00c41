"""What docs/detection.md says of data and measuring: code that runs, transforms as they are."""

import contextlib
import io
import re
import shlex

import h5py
import numpy as np
from pictures import picture, save
from test_docs import arguments_of, blocks, commands, page, parsed
from transform_kinds import BOX_KINDS

from minidl import data, nn, ops


def section(name):
    """The text below a heading of the second level, up to the next one."""
    return page("detection.md").split(f"\n## {name}\n")[1].split("\n## ")[0]


def test_its_code_of_sliding_windows_runs():
    (block,) = blocks(section("Sliding windows"), "python")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(block, "detection.md", "exec"), {})
    assert said.getvalue().endswith("(4, 4)\n")


def test_its_pieces_exist():
    found = re.findall(r"`(?:(ops|nn)\.)?(\w+)`", section("Pieces").split("\n\n")[0])
    assert len(found) > 20
    for room, name in found:
        assert hasattr(nn if room == "nn" or name[0].isupper() else ops, name), name


TEXT = section("Data") + section("Measuring")


def test_its_code_of_data_and_measuring_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = ["image,split,class,xmin,ymin,xmax,ymax"]
    for i in range(8):
        save(tmp_path / "pictures" / f"{i}.png", picture(60, 80, seed=i))
        part = "train" if i < 5 else "test"
        rows += [f"{i}.png,{part},cat,10,10,50,50", f"{i}.png,{part},dog,{20 + i},5,75,40"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    found, names = blocks(TEXT, "python"), {}
    assert len(found) == 3
    with contextlib.redirect_stdout(io.StringIO()) as said:
        for block in found:
            exec(compile(block, "detection.md", "exec"), names)
    assert "(2, 300, 300, 3)" in said.getvalue()
    assert {"evaluation.html", "boxes.json", "pets.h5"} <= {p.name for p in tmp_path.iterdir()}
    assert names["figures"].map_voc == 1
    assert isinstance(names["drawn"], np.ndarray)


def test_the_format_is_told(tmp_path):
    """The datasets and attributes of a file are those in the page, no more and no less."""
    target = {"boxes": [[0, 0, 1, 1]], "labels": [0], "difficult": [True], "crowd": [False],
              "area": [1], "points": [[[0, 0]]]}  # fmt: skip
    made = data.Detection([np.zeros((2, 2, 3), np.uint8)], [target], ["x"], parts=["test"])
    made.save(tmp_path / "a.h5")
    (told,) = (block for block in blocks(TEXT, "") if block.startswith("/  "))
    with h5py.File(tmp_path / "a.h5") as file:
        assert sorted(re.findall(r"/(\w+)", told)) == sorted(file)
        assert all(name in told.splitlines()[0] for name in file.attrs)
        for name in file:
            assert file[name].dtype.name in told


def test_its_commands_parse():
    for line in commands(TEXT):
        wrong = parsed(*shlex.split(line)[1:])
        assert wrong is None, f"{line}: {wrong}"


def test_transforms_of_boxes_are_told_as_their_docstrings_tell_them():
    table = TEXT.split("| `data.transforms.` |")[1].split("\n\n")[0]
    told = re.findall(r"^\| `(\w+\(.*\))` \| (.*) \|$", table, re.M)
    assert sorted(told) == sorted(
        (f"{kind.__name__}({arguments_of(kind)})", kind.__doc__.splitlines()[0].removesuffix("."))
        for kind in BOX_KINDS
    )
