"""The commands of benchmarks/, with measurements that are made up."""

import json

import pytest

from benchmarks import files, infer, kernels, limits, train


def test_competitors_take_turns(jobs, capsys):
    assert train.main(["lenet5-64", "--rounds", "2", "--sides", "minidl"]) == 0
    assert [(job["network"], job["batch"], job["side"]) for job, _ in jobs] == [
        ("lenet5", 64, "minidl")
    ] * 2
    assert "lenet5-64" in capsys.readouterr().out


def test_a_network_stands_for_all_its_batches(jobs):
    assert infer.main(["resnet18", "--rounds", "1", "--sides", "minidl"]) == 0
    assert [job["batch"] for job, _ in jobs] == [1, 8]


def test_the_cold_start_has_an_empty_cache(jobs):
    assert train.main(["resnet20", "--rounds", "1", "--sides", "minidl", "--cold"]) == 0
    (first, environment), (second, usual) = jobs
    assert first["first_only"]
    assert "MINIDL_CACHE" in environment
    assert "first_only" not in second
    assert usual == {}


@pytest.fixture
def zen4(monkeypatch):
    """A CPU with AVX-512."""
    features = {"avx2": True, "avx512f": True, "fma": True}
    monkeypatch.setattr(limits, "host", lambda: ("znver4", features))


@pytest.mark.usefixtures("zen4")
def test_avx2_limits_every_side_and_the_file_says_so(jobs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.sides.installed", lambda package: True)
    file = tmp_path / "figures.json"
    sides = ["minidl", "torch NCHW tuned", "ONNX Runtime", "OpenVINO"]
    arguments = ["lenet5-1", "--rounds", "1", "--avx2", "--json", str(file), "--sides", *sides]
    assert infer.main(arguments) == 0
    ours, torch, onnx_runtime, openvino = (environment for _, environment in jobs)
    assert ours["NUMBA_CPU_NAME"] == "znver3"
    assert "-avx512f" in ours["NUMBA_CPU_FEATURES"].split(",")
    assert (torch["ONEDNN_MAX_CPU_ISA"], torch["ATEN_CPU_CAPABILITY"]) == ("AVX2", "avx2")
    assert "GLIBC_TUNABLES" in torch
    assert onnx_runtime == {}
    assert openvino["OV_CPU_MAX_ISA"] == "AVX2"
    assert all(job["avx2"] for job, _ in jobs)
    assert json.loads(file.read_text())["limit"]["to"] == "AVX2"
    assert (
        "--avx2: limited to AVX2; ONNX Runtime can't be limited; OpenVINO's fully "
        "connected layers can't be limited\n"
    ) in capsys.readouterr().out


@pytest.mark.usefixtures("zen4")
def test_avx2_limits_the_peak_and_the_first_step_ever_too(jobs):
    assert kernels.main(["max-pool", "--rounds", "1", "--sides", "minidl", "--avx2"]) == 0
    assert train.main(["vgg16", "--rounds", "1", "--sides", "minidl", "--avx2", "--cold"]) == 0
    assert [job["kind"] for job, _ in jobs] == ["peak", "kernels", "train", "train"]
    assert {environment["NUMBA_CPU_NAME"] for _, environment in jobs} == {"znver3"}


def test_avx2_where_there_is_no_more(jobs, monkeypatch, capsys):
    monkeypatch.setattr(limits, "host", lambda: ("znver3", {"avx2": True, "avx512f": False}))
    assert train.main(["lenet5-64", "--rounds", "1", "--sides", "minidl", "--avx2"]) == 0
    assert [environment for _, environment in jobs] == [{}]
    assert "--avx2 changed nothing: this CPU has no AVX-512" in capsys.readouterr().out


def test_without_avx2_nothing_is_limited(jobs, tmp_path, capsys):
    file = tmp_path / "figures.json"
    assert train.main(["lenet5-64", "--rounds", "1", "--sides", "minidl", "--json", str(file)]) == 0
    assert [environment for _, environment in jobs] == [{}]
    assert "limit" not in json.loads(file.read_text())
    assert "avx2" not in capsys.readouterr().out


def test_figures_are_saved(jobs, found, tmp_path):
    file = tmp_path / "figures.json"
    assert train.main(["lenet5-64", "--rounds", "1", "--sides", "minidl", "--json", str(file)]) == 0
    (row,) = json.loads(file.read_text())["rows"]
    assert row == {"case": "lenet5-64", "side": "minidl", "round": 0, **found}


def test_the_eager_side_is_measured_beside(jobs, capsys):
    assert train.main(["lenet5-64", "--rounds", "1", "--sides", "minidl", "minidl eager"]) == 0
    assert [job["side"] for job, _ in jobs] == ["minidl", "minidl eager"]
    assert "/eager" in capsys.readouterr().out


def test_kernels_by_parts_of_their_names(jobs, capsys):
    assert kernels.main(["3x3 64-64", "--rounds", "1", "--sides", "minidl"]) == 0
    names = [f"3x3 64-64 at 56, {direction}" for direction in ("forward", "input", "weight")]
    assert jobs[1][0]["ops"] == names
    assert "FMA peak: 100 GFLOP/s" in capsys.readouterr().out


def test_flops_of_a_convolution():
    flops = kernels.OPERATIONS["7x7/2 3-64 at 224, forward"].flops
    assert flops == 2 * 8 * 112 * 112 * 64 * 7 * 7 * 3


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (train.main, ["alexnet"], "no network alexnet: there are lenet5-64, lenet5-256"),
        (train.main, ["--sides", "numpy"], "no side numpy: there are minidl, minidl eager"),
        (train.main, ["--sides", "ONNX Runtime"], "no side ONNX Runtime"),  # it can't train
        (train.main, ["--sides", "OpenVINO"], "no side OpenVINO"),
        (kernels.main, ["--sides", "minidl eager"], "no side minidl eager"),  # layers are eager
        (kernels.main, ["softmax"], "no operation named softmax: 3x3 64-64"),
    ],
)
def test_unknown_names(jobs, main, arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_files_are_measured_beside_tofile(tmp_path, capsys):
    assert files.main(["lenet5", "--rounds", "2", "--folder", str(tmp_path)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split() == ["lenet5", "ms", "/tofile", "least", "most"]
    assert [row.split("  ")[0] for row in rows[1:5]] == [
        "tofile and fsync", "fromfile", "save_weights", "load_weights",
    ]  # fmt: skip
    assert rows[1].split()[-3:] == ["1.00"] * 3
    assert list(tmp_path.iterdir()) == []
