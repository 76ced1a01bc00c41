"""`minidl summary` and `minidl draw`."""

from xml.etree import ElementTree

import pytest
from command import minidl

import minidl as md
from minidl import models
from minidl.cli import main


def test_summary(capsys):
    assert main(["summary", "lenet5"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("lenet5 on an input of 1 x 32 x 32 x 1; 61,706 of 61,706 parameters")
    assert "416,520" in out


def test_summary_with_arguments(capsys):
    arguments = ["--arguments", '{"num_classes": 7, "input_size": 32}', "--depth", "1"]
    assert main(["summary", "vgg11", *arguments, "--input", "2,32,32,3"]) == 0
    out = capsys.readouterr().out
    assert "on an input of 2 x 32 x 32 x 3" in out
    assert len([line for line in out.splitlines() if "Sequential" in line]) == 2


def test_summary_of_a_file(capsys, tmp_path):
    md.save_weights(models.resnet20(num_classes=3), tmp_path / "w.h5")
    assert main(["summary", str(tmp_path / "w.h5"), "--depth", "1"]) == 0
    assert "resnet20 on an input of 1 x 32 x 32 x 3" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["html", "svg", "dot", "HTML"])
def test_draw(capsys, tmp_path, ending):
    path = tmp_path / f"net.{ending}"
    assert main(["draw", "googlenet", "-o", str(path), "--input", "64,64,3"]) == 0
    assert capsys.readouterr().out == f"{path}: 83 layers\n"
    text = path.read_text(encoding="utf-8")
    assert "googlenet" in text
    if ending != "dot":
        ElementTree.fromstring(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["summary", "lenet6"], "there is no network 'lenet6': did you mean lenet5"),
        (["summary", "lenet5", "--input", "64,64,1"], "expected images of 32x32 pixels"),
        (["summary", "lenet5", "--arguments", '{"classes": 3}'], "classes"),
        (["summary", "."], "summary: "),
        (["summary", "weights.h5"], "weights.h5"),
        (["summary", "runs/weights"], "runs/weights"),
        (["summary", "preact_resnet", "--arguments", '{"depth": [1]}'], "depth"),
        (["summary", "plain_cnn", "--arguments", '{"widths": 5}'], "can't be made with"),
        (["summary", "resnet18", "--input", "9000000,9000000,3"], "not enough memory"),
        (["draw", "lenet5", "-o", "net.png"], "net.png must end in .html, .svg, .dot"),
        (["draw", "lenet5", "-o", "nowhere/net.svg"], "nowhere"),
    ],
)
def test_what_cannot_be_done(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["name", "weights"])
def test_arguments_that_have_options_of_their_own(name, capsys):
    with pytest.raises(SystemExit):
        main(["summary", "lenet5", "--arguments", f'{{"{name}": "x"}}'])
    assert f"argument --arguments: can't hold {name}" in capsys.readouterr().err


def test_arguments_are_not_for_files(capsys, tmp_path):
    md.save_weights(models.lenet5(), tmp_path / "w.h5")
    assert main(["summary", str(tmp_path / "w.h5"), "--arguments", "{}"]) == 0
    capsys.readouterr()
    assert main(["summary", str(tmp_path / "w.h5"), "--arguments", '{"num_classes": 2}']) == 2
    assert "a file knows its own" in capsys.readouterr().err


@pytest.mark.parametrize("shape", ["a", "32,,3", "0,32,3", ""])
def test_shapes_that_are_none(shape):
    run = minidl("summary", "lenet5", "--input", shape)
    assert run.status == 2
    assert "--input" in run.err
