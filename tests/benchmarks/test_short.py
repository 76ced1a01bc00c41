"""`minidl bench`, with measurements that are made up."""

import json

import pytest
from command import minidl, read_json

import minidl as md
from minidl.bench import short, work
from minidl.bench.captured import captured


@pytest.mark.parametrize("has_torch", [True, False])
def test_minidl_bench(jobs, monkeypatch, has_torch, tmp_path):
    monkeypatch.setattr(short, "installed", lambda package: has_torch)
    done = minidl("bench", "--threads", "1", "--json", tmp_path / "figures.json")
    assert done.status == 0
    assert len(jobs) == short.ROUNDS * (3 if has_torch else 1)
    assert ("pip install 'minidl[bench]'" in done.out) != has_torch
    assert ("1.00" in done.out) == has_torch  # the ratio
    assert "32,000" in done.out  # 64 images in 2 ms
    assert read_json(tmp_path / "figures.json")["threads"] == 1


def test_json_is_all_that_it_prints(jobs, monkeypatch, tmp_path):
    monkeypatch.setattr(short, "installed", lambda package: False)
    done = minidl("bench", "--threads", "1", "--json")
    assert done.status == 0
    result = json.loads(done.out)
    assert (result["kind"], result["threads"]) == ("short", 1)
    assert len(result["rows"]) == short.ROUNDS * len(work.TASKS)
    assert done.err.splitlines() == [
        "round 1 of 3: minidl",
        "round 2 of 3: minidl",
        "round 3 of 3: minidl",
    ]


def test_the_tasks_of_minidl_bench_run():
    tasks = work.minidl_tasks()
    assert set(tasks) == set(work.TASKS)
    for run in tasks.values():
        run()


def test_steps_and_networks_are_captured_where_there_is_a_compiler(monkeypatch):
    seen = []
    monkeypatch.setattr(md, "compile", lambda what: seen.append(what) or what, raising=False)
    assert captured(len) is len
    work.minidl_tasks()
    assert seen[0] is len
    assert [getattr(what, "__name__", type(what).__name__) for what in seen[1:]] == [
        "LeNet5", "step", "resnet_step",
    ]  # fmt: skip


# --compare


def result(ms, **more):
    """What --json prints of a machine, each task taking `ms` in the median."""
    machine = {"cpu": "Some CPU", "versions": {"minidl": "0.1.0", "numpy": "2.4"}} | more
    rows = [
        {"side": side, "task": task, "ms": factor * time, "disturbed": False}
        for task in work.TASKS
        for side, factor in ((short.MINIDL, 1), (short.TORCH, 3))
        for time in (ms, ms / 2, 9 * ms)
    ]
    return {"kind": "short", "work": work.WORK, "machine": machine, "threads": 2, "rows": rows}


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def cells(text, start):
    """The first line that starts so, in cells."""
    line = next(line for line in text.splitlines() if line.startswith(start))
    return line.removeprefix(start).split()


def test_two_machines_side_by_side(tmp_path):
    a = written(tmp_path / "a.json", result(4.0))
    b = written(tmp_path / "b.json", result(1.6, cpu="Another CPU", versions={"minidl": "0.2.0"}))
    done = minidl("bench", "--compare", a, b)
    assert (done.status, done.err) == (0, "")
    assert cells(done.out, "per second") == ["A", "B", "B/A"]
    assert cells(done.out, "LeNet-5 training step, batch 64") == ["16,000", "40,000", "2.50"]
    assert cells(done.out, "LeNet-5 inference, batch 1") == ["250", "625", "2.50"]
    head, other, *table = done.out.splitlines()
    assert head == f"A, {a}: Some CPU, threads: 2, float32, minidl 0.1.0, numpy 2.4"
    assert other == f"B, {b}: Another CPU, threads: 2, float32, minidl 0.2.0"
    assert len(table) == 1 + len(work.TASKS)


def test_what_was_disturbed_or_is_missing_is_seen(tmp_path):
    disturbed, partial = result(2.0), result(2.0)
    disturbed["rows"][0]["disturbed"] = True
    partial["rows"] = [row for row in partial["rows"] if row["task"] != "inference"]
    a, b = written(tmp_path / "a.json", disturbed), written(tmp_path / "b.json", partial)
    out = minidl("bench", "--compare", a, b).out
    assert cells(out, "LeNet-5 training step, batch 64") == ["32,000*", "32,000", "1.00*"]
    assert cells(out, "3x3 convolution 64 to 64 at 56x56, batch 8")[-1] == "1.00"
    assert cells(out, "LeNet-5 inference, batch 1") == ["500", "-", "-"]
    assert out.endswith("* others kept the machine busy: run it again when it is quiet\n")


def test_what_json_prints_can_be_compared(jobs, tmp_path):
    a = written(tmp_path / "a.json", minidl("bench", "--json").out)
    done = minidl("bench", "--compare", a, a)
    assert cells(done.out, "LeNet-5 inference, batch 1") == ["500", "500", "1.00"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        ("", "it is no JSON"),
        (b"\xff\xfe", "it is no JSON"),
        ("[" * 100_000, "it is JSON of another form"),
        ([], "it is JSON of another form"),
        ({}, "it has no 'kind'"),
        ({"kind": "train"}, "its kind is 'train', not 'short'"),
        ({"kind": "short", "work": work.WORK, "rows": []}, "it has no 'machine'"),
        (
            result(2.0) | {"work": work.WORK + 1},
            f"its work is {work.WORK + 1}, and this version's is {work.WORK}: see docs/bench.md",
        ),
        (
            {name: value for name, value in result(2.0).items() if name != "work"},
            f"its work is 'without a number', and this version's is {work.WORK}: see docs/bench.md",
        ),
        (result(2.0) | {"rows": []}, "it has no row of minidl"),
        (result(0.0), "a time is no number above 0"),
        (result(float("nan")), "a time is no number above 0"),
        (result(2.0) | {"machine": "mine"}, "it is JSON of another form"),
    ],
)
def test_another_file_is_refused(tmp_path, content, why):
    good, bad = written(tmp_path / "good.json", result(1.0)), tmp_path / "bad.json"
    if isinstance(content, bytes):
        bad.write_bytes(content)
    elif content is not None:
        written(bad, content)
    for files in ((good, bad), (bad, good)):
        done = minidl("bench", "--compare", *files)
        assert (done.status, done.out) == (2, "")
        assert done.err == (
            f"minidl bench: {bad} holds no figures of `minidl bench` ({why}): on the machine they "
            "are to be of, `minidl bench --json > bad.json` makes such a file\n"
        )


def test_comparing_measures_nothing(jobs, tmp_path):
    a = written(tmp_path / "a.json", result(1.0))
    assert minidl("bench", "--compare", a, a).status == 0
    assert jobs == []
    assert minidl("bench", "--json", "--compare", a, a).status == 2
    assert minidl("bench", "--compare", a).status == 2
