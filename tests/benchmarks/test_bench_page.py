"""`minidl bench --page`: what the page shows, and the files that it refuses."""

import json
import re

import pytest
from command import minidl

from minidl.bench import work


def result(ms, cpu="Some CPU", sides=("minidl",), **more):
    """What --json prints of a machine whose rounds took from 3/4 of `ms` to 3/2 of it."""
    rows = [
        {
            "side": side, "task": task, "ms": ms * factor, "disturbed": False, "others": 0.25,
            "quartiles_ms": [ms * factor / 2, ms * factor * 2],
        }
        for task in work.TASKS
        for side in sides
        for factor in (0.75, 1.0, 1.5)
    ]  # fmt: skip
    machine = {
        "cpu": cpu, "cores": 8, "isa": "x86_64, vectors of 32 bytes", "memory_bytes": 2**34,
        "caches": {"L1 Data": "32K", "L2": "1M"}, "versions": {"minidl": "0.1.0"},
    }  # fmt: skip
    about = {"kind": "short", "work": work.WORK, "machine": machine, "load": [0.5, 0.4, 0.3]}
    return {**about, "threads": 2, "rows": rows, **more}


def written(path, content):
    path.write_text(json.dumps(content))
    return path


def paged(tmp_path, *results):
    files = [written(tmp_path / f"{i}.json", each) for i, each in enumerate(results)]
    done = minidl("bench", "--page", *files, "-o", tmp_path / "page.html")
    assert (done.status, done.err) == (0, "")
    return (tmp_path / "page.html").read_text()


def test_speeds_bars_and_ratios(tmp_path):
    page = paged(tmp_path, result(4.0), result(2.0, sides=("minidl", "PyTorch NCHW")))
    row = re.search(r"<tr><th[^>]*>LeNet-5 training step, batch 64.*?</tr>", page, re.S)[0]
    assert re.sub(r"<[^>]+>", " ", row).split()[-3:] == ["16,000", "32,000", "(2.00)"]
    bars = re.findall(r"<span>([^<]*)</span><div class=\"track( mine)?\"", page)
    assert bars[:3] == [("A, minidl", " mine"), ("B, minidl", " mine"), ("B, PyTorch NCHW", "")]
    # the longest is B's fastest quartile, 0.75 ms; A's median is 4 ms, its quartiles 1.5 to 12
    first = page[page.index("A, minidl") :]
    share, low, width = (float(x) for x in re.findall(r"(?:width|left):([\d.]+)%", first)[:3])
    assert share == pytest.approx(100 * 0.75 / 4, abs=0.01)
    assert low == pytest.approx(100 * 0.75 / 12, abs=0.01)
    assert low + width == pytest.approx(100 * 0.75 / 1.5, abs=0.02)


def test_the_machines_are_described_and_names_escaped(tmp_path):
    page = paged(tmp_path, result(1.0, cpu="<b>CPU</b> & co"))
    for text in ("&lt;b&gt;CPU&lt;/b&gt; &amp; co", "16.0 GiB", "L1 Data 32K, L2 1M", "0.25 cores"):
        assert text in page
    assert "<b>CPU" not in page
    assert not re.search(r"(?:src|href)=|https?://", page), "it needs no network"


def test_any_number_of_files(tmp_path):
    page = paged(tmp_path, *(result(1.0 + i) for i in range(28)))
    assert page.count('class="facts"') == 28
    assert "Z, minidl" in page
    assert "B1, minidl" in page


def test_a_task_that_a_file_lacks_is_a_dash(tmp_path):
    partial = result(1.0)
    partial["rows"] = [row for row in partial["rows"] if row["task"] != "product"]
    page = paged(tmp_path, partial)
    assert "not measured" in page
    assert ">-</td>" in page


def changed(**more):
    return result(1.0) | more


@pytest.mark.parametrize(
    "content",
    [
        changed(work=work.WORK + 1),
        changed(load="heavy"),
        changed(load=[None]),
        changed(machine=result(1.0)["machine"] | {"caches": [1]}),
        changed(machine=result(1.0)["machine"] | {"memory_bytes": "much"}),
        changed(machine={"versions": {}}),
        changed(rows=[{**result(1.0)["rows"][0], "quartiles_ms": [0.0, 1.0]}]),
        changed(rows=[{**result(1.0)["rows"][0], "quartiles_ms": 3}]),
        changed(rows=[{**result(1.0)["rows"][0], "ms": 10**400}]),
        changed(rows=[{**result(1.0)["rows"][0], "ms": 1e-320}]),
        changed(rows=[*result(1.0)["rows"], {**result(1.0)["rows"][0], "side": ["minidl"]}]),
        changed(rows=[{**result(1.0)["rows"][0], "others": "many"}]),
        changed(rows=[{"side": "minidl", "task": "step", "ms": 1.0}]),
    ],
)
def test_one_bad_file_is_one_error(tmp_path, content):
    good, bad = written(tmp_path / "a.json", result(1.0)), written(tmp_path / "b.json", content)
    done = minidl("bench", "--page", good, bad, "-o", tmp_path / "page.html")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"minidl bench: {bad} holds no figures of `minidl bench` (")
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "page.html").exists()


def test_rounds_without_quartiles_have_their_times(tmp_path):
    without = result(1.0)
    for row in without["rows"]:
        row["quartiles_ms"] = []
    low, width = re.findall(r"left:([\d.]+)%;\s*width:([\d.]+)%", paged(tmp_path, without))[0]
    assert (float(low), float(width)) == pytest.approx((50, 50), abs=0.02)  # 0.75 to 1.5 ms


def test_what_cannot_be_written_is_told_before_anything_is_measured(tmp_path):
    a = written(tmp_path / "a.json", result(1.0))
    text = a.read_text()
    for options, told in [
        (("--json", tmp_path / "nowhere" / "b.json"), "there is no folder"),
        (("--json", tmp_path), "expected a file"),
        (("-o", tmp_path / "page.html"), "-o tells where --page writes"),
        (("--compare", a, a, "-o", tmp_path / "page.html"), "-o tells where --page writes"),
        (("--page", a, "-o", a), "which it reads"),
        (("--page", a, "--distributed"), "--distributed measures"),
    ]:
        done = minidl("bench", *options)
        assert (done.status, done.out) == (2, "")
        assert told in done.err
        assert len(done.err.splitlines()) == 1
    assert a.read_text() == text


def test_the_page_is_not_made_beside_a_measurement(tmp_path):
    a = written(tmp_path / "a.json", result(1.0))
    assert minidl("bench", "--page", a, "--json").status == 2
    assert minidl("bench", "--page").status == 2
