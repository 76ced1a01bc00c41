"""The tables, from figures in which everything is known."""

import json

import pytest

from benchmarks.table import main, ratio, render

MACHINE = {
    "cpu": "A CPU", "cores": 2, "system": "Linux", "python": "3.13.1",
    "versions": {"minidl": "0.1.0", "torch": "2.13.0"}, "date": "2026-01-02T03:04:05+0000",
}  # fmt: skip


def result(kind, rows, absent=None):
    return {
        "kind": kind, "machine": MACHINE, "threads": 2, "dtype": "float32", "rounds": 3,
        "absent": absent or {}, "rows": rows,
    }  # fmt: skip


def rows(side, times, case="lenet5-64", **more):
    return [
        {
            "case": case, "side": side, "round": turn, "ms": ms, "images_per_second": 64e3 / ms,
            "disturbed": False, "others": 0.01, "first_s": 1.25, "minor_faults": 3.5,
            "peak_mb": 300 + ms, **more,
        }
        for turn, ms in enumerate(times)
    ]  # fmt: skip


SIDES = [
    *rows("minidl", [2, 1, 40]),  # median 2
    *rows("torch NCHW", [12, 12, 12]),
    *rows("torch last", [10, 10, 10]),
    *rows("torch NCHW tuned", [4, 5, 6]),  # the better one, though not in its first round
    *rows("torch last tuned", [3, 7, 7]),
]


def cells(text, start):
    """The first line that starts so, in cells."""
    line = next(line for line in text.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.removeprefix(start).split("  ") if cell.strip()]


def test_ratios_come_first_and_are_of_medians():
    text = render(result("train", SIDES))
    assert cells(text, "images/s")[:3] == ["/torch tuned", "/torch default", "minidl"]
    assert cells(text, "lenet5-64")[:4] == ["2.50", "5.00", "32,000", "5,333"]


def test_costs_stand_apart():
    text = render(result("train", SIDES))
    assert cells(text, "lenet5-64  minidl") == ["2", "1.2", "-", "3.5", "340", "0.01"]


def test_compile_time_is_a_column_of_its_own():
    cold = [{"case": "lenet5-64", "side": "minidl", "cold": True, "first_s": 21.5}]
    text = render(result("train", cold + SIDES))
    assert cells(text, "lenet5-64  minidl")[:3] == ["2", "1.2", "21.5"]
    assert cells(text, "lenet5-64  torch NCHW tuned")[2] == "-"


def test_what_is_not_installed_is_said():
    text = render(result("infer", rows("minidl", [1]), {"JAX": "not installed: jax"}))
    assert text.endswith("JAX: not installed: jax")
    assert cells(text, "images/s") == ["minidl"]


def test_disturbed_measurements_are_marked_and_so_are_their_ratios():
    disturbed = rows("torch NCHW tuned", [4], disturbed=True)
    text = render(result("train", rows("minidl", [2]) + disturbed))
    assert cells(text, "lenet5-64") != []
    assert cells(text, "lenet5-64")[:3] == ["2.00*", "32,000", "16,000*"]
    assert "1 of 2 measurements were disturbed" in text


def test_a_side_that_never_ran_has_no_ratio():
    only = rows("torch NCHW", [1])
    assert ratio({("lenet5-64", "torch NCHW"): only}, "lenet5-64", ("torch NCHW",)) is None
    assert cells(render(result("train", only)), "lenet5-64")[0] == "-"


def test_what_was_limited_is_in_the_head():
    one = result("train", rows("minidl", [1]))
    assert "avx2" not in render(one)
    some = one | {"limit": {"to": "AVX2", "free": ["X can't be limited"]}}
    assert "\n--avx2: limited to AVX2; X can't be limited\n" in render(some)
    none = one | {"limit": {"to": None, "free": []}}
    assert "\n--avx2 changed nothing: this CPU has no AVX-512\n" in render(none)


def test_first_steps():
    """Medians, each side of which may have cases that others haven't."""
    empty, second, warmup = (
        rows(side, [1, 1, 1], case)
        for side, case in (("minidl, a", "net-1"), ("minidl, b", "net-1"), ("minidl, a", "warmup"))
    )
    for row, first in zip(empty, (30.0, 20.0, 90.0)):
        row |= {"first_s": first, "first_step_s": first - 1}
    empty[0]["disturbed"] = True
    for row in second:
        row["first_step_s"] = 0.125
    text = render(result("cold", [*empty, *second, *warmup]))
    assert cells(text, "s from the start to the end of the first step") == [
        "minidl, a",
        "minidl, b",
    ]
    assert cells(text, "net-1") == ["30.0*", "1.2"]
    assert cells(text, "  of them the step") == ["29.00", "0.12"]
    assert cells(text, "warmup") == ["1.2", "-"]


def test_convolutions_are_a_share_of_the_peak_and_others_are_not():
    peak = [
        {"case": "peak", "round": turn, "gflops": gflops} for turn, gflops in ((0, 90), (1, 100))
    ]
    conv = rows("minidl", [2], "3x3, forward", flops=180e6)  # 90 GFLOP/s
    pool = rows("minidl", [1], "pool, forward", flops=0)
    text = render(result("kernels", peak + conv + pool))
    assert "FMA peak: 100 GFLOP/s" in text
    assert cells(text, "3x3, forward") == ["90", "2.000"]
    assert cells(text, "pool, forward") == ["-", "1.000"]


@pytest.mark.parametrize("kind", ["train", "infer", "kernels", "cold"])
def test_nothing_measured(kind):
    assert render(result(kind, [])) == "nothing was measured"


def test_a_saved_file_gives_the_same_table(tmp_path, capsys):
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(result("train", SIDES)))
    assert main([str(file)]) == 0
    assert capsys.readouterr().out == render(result("train", SIDES)) + "\n"


@pytest.mark.parametrize("content", [None, "no JSON", "{}"])
def test_another_file_is_refused(tmp_path, content, capsys):
    file = tmp_path / "figures.json"
    if content is not None:
        file.write_text(content)
    assert main([str(file)]) == 2
    assert "is not a file that --json saved" in capsys.readouterr().err
