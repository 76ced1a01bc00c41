"""The commands of benchmarks/ and `minidl bench`, with measurements that are made up."""

import json

import pytest
from command import minidl

from benchmarks import compare, files, infer, kernels, train
from minidl.bench import short

FOUND = {
    "ms": 2.0, "images_per_second": 500.0, "disturbed": False, "others": 0.0, "tries": 1,
    "first_s": 1.0, "first_step_s": 0.5, "minor_faults": 0.0, "peak_mb": 100.0,
}  # fmt: skip


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that would have run, with the environment of each."""
    seen = []

    def run(module, job, environment=None):
        seen.append((job, environment or {}))
        if job.get("kind") == "peak":
            return {"gflops": 100.0}
        if job.get("kind") == "kernels":
            return dict.fromkeys(job["ops"], FOUND)
        return FOUND if "kind" in job else dict.fromkeys(short.TASKS, FOUND)

    for module in (compare, kernels, short):
        monkeypatch.setattr(module, "run_job", run)
    return seen


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


def test_figures_are_saved(jobs, tmp_path):
    file = tmp_path / "figures.json"
    assert train.main(["lenet5-64", "--rounds", "1", "--sides", "minidl", "--json", str(file)]) == 0
    (row,) = json.loads(file.read_text())["rows"]
    assert row == {"case": "lenet5-64", "side": "minidl", "round": 0, **FOUND}


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
        (train.main, ["--sides", "numpy"], "no side numpy: there are minidl, torch NCHW"),
        (train.main, ["--sides", "ONNX Runtime"], "no side ONNX Runtime"),  # it can't train
        (kernels.main, ["softmax"], "no operation named softmax: 3x3 64-64"),
    ],
)
def test_unknown_names(jobs, main, arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("has_torch", [True, False])
def test_minidl_bench(jobs, monkeypatch, has_torch, tmp_path):
    monkeypatch.setattr(short, "installed", lambda package: has_torch)
    done = minidl("bench", "--threads", "1", "--json", tmp_path / "figures.json")
    assert done.status == 0
    assert len(jobs) == short.ROUNDS * (3 if has_torch else 1)
    assert ("pip install 'minidl[bench]'" in done.out) != has_torch
    assert ("1.00" in done.out) == has_torch  # the ratio
    assert "32,000" in done.out  # 64 images in 2 ms
    assert json.loads((tmp_path / "figures.json").read_text())["threads"] == 1


def test_the_tasks_of_minidl_bench_run():
    tasks = short.minidl_tasks()
    assert set(tasks) == set(short.TASKS)
    for run in tasks.values():
        run()


def test_files_are_measured_beside_tofile(tmp_path, capsys):
    assert files.main(["lenet5", "--rounds", "2", "--folder", str(tmp_path)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split() == ["lenet5", "ms", "/tofile", "least", "most"]
    assert [row.split("  ")[0] for row in rows[1:5]] == [
        "tofile and fsync", "fromfile", "save_weights", "load_weights",
    ]  # fmt: skip
    assert rows[1].split()[-3:] == ["1.00"] * 3
    assert list(tmp_path.iterdir()) == []
