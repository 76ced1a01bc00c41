"""`minidl warmup` and `minidl doctor`."""

import os
import re
import subprocess
import sys
from importlib import metadata
from itertools import groupby

import numpy as np
import pytest
from command import child, minidl

import minidl as md
from minidl import doctor, optim, warmup
from minidl.autograd.tensor import ops
from minidl.kernels import _cache, _notice


@pytest.fixture
def no_cache(monkeypatch):
    doctor._kernels()  # a kernel that is imported without a folder for it says so
    monkeypatch.setattr(_cache, "_prepared", lambda: (None, "/nowhere: Read-only file system"))


@pytest.fixture(autouse=True)
def _put_back(monkeypatch):
    monkeypatch.setattr(_notice._watch, "quiet", _notice._watch.quiet)


# warmup


def test_every_op_and_optimizer_is_warmed_up():
    names = [case.name for case in warmup.cases(np.dtype(np.float32))]
    assert len(set(names)) == len(names)  # a process is told what to do by name
    assert set(ops) <= set(names)
    own = (k for k in optim.Optimizer.__subclasses__() if k.__module__.startswith("minidl."))
    kinds = {kind.__name__ for kind in own}
    assert {"SGD", "Adam"} <= kinds <= set(names)


def test_families_are_whole():
    """Cases that need the same kernels follow one another: one process compiles them."""
    families = [family for family, _ in groupby(case.family for case in warmup.cases("float32"))]
    assert len(set(families)) == len(families)


CASES = """
import os
import sys
import time

from minidl import warmup


def note(name):
    with open(os.path.join({folder!r}, name), "x") as file:
        file.write(f"{{os.getpid()}} {{sys.argv[1]}}")


def meet(name, other):
    note(name)
    while not os.path.exists(os.path.join({folder!r}, other)):
        time.sleep(0.01)


def a(): meet("a", "b")
def b(): meet("b", "a")
def c(): note("c")
def fail(): print("said", 1 / 0)
def die(): os._exit(7)
def hang(): time.sleep(1000)


warmup.cases = lambda kind: [warmup.Case(*case) for case in {cases}]
"""


@pytest.fixture
def with_cases(tmp_path, monkeypatch):
    """Let `warmup` have these cases instead; the folder where each leaves its process's id."""

    def put(cases):
        for name in ("cases", "PROGRAM"):
            monkeypatch.setattr(warmup, name, getattr(warmup, name))
        program = CASES.format(folder=str(tmp_path), cases=cases)
        exec(program, {})
        monkeypatch.setattr(warmup, "PROGRAM", program + warmup.PROGRAM)
        return tmp_path

    return put


TWO_FAMILIES = '[("one", "a", a), ("two", "b", b), ("two", "c", c)]'


@pytest.mark.parametrize(
    ("arguments", "dtype"), [([], "float32"), (["--dtype", "float64"], "float64")]
)
def test_warmup_shows_what_it_does_and_where_it_is_kept(arguments, dtype, with_cases, monkeypatch):
    monkeypatch.setattr(md.config, "_num_threads", 2)  # so many processes
    folder = with_cases(TWO_FAMILIES)
    done = minidl("warmup", *arguments)
    assert done.status == 0, done.err
    ran = {name: (folder / name).read_text().split() for name in "abc"}
    assert {kind for _, kind in ran.values()} == {dtype}
    assert str(os.getpid()) != ran["a"][0] != ran["b"][0] == ran["c"][0]
    assert re.search(r"[abc]: 100%\|.*\| 3/3 \[", done.err)
    assert re.fullmatch(
        rf"kernels for {dtype} are compiled, in \d+ s; kept in {_cache.folder()}: "
        r"\d+ files, \d+\.\d MB\n",
        done.out,
    )


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("fail", r"fail can't be compiled:\nTraceback (.|\n)*ZeroDivisionError: division by zero"),
        ("die", "die: the process that compiled it ended, status 7"),
    ],
)
def test_a_case_that_fails_is_named_and_ends_all(case, message, with_cases, monkeypatch):
    monkeypatch.setattr(md.config, "_num_threads", 2)
    with_cases(f'[("one", "hang", hang), ("two", "{case}", {case})]')
    done = minidl("warmup")
    assert (done.status, done.out) == (2, "")
    assert re.search(f"minidl warmup: {message}", done.err), done.err


def test_ctrl_c_ends_all_processes(with_cases):
    folder = with_cases('[("one", "a", a), ("one", "hang", hang), ("two", "b", b)]')

    def told(name):
        if name == "b":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        warmup.compile_all("float32", 2, told)
    for name in "ab":
        with pytest.raises(ProcessLookupError):
            os.kill(int((folder / name).read_text().split()[0]), 0)


@pytest.mark.usefixtures("no_cache")
def test_warmup_where_nothing_can_be_kept_is_refused():
    done = minidl("warmup")
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "minidl warmup: there is no folder to keep compiled kernels in (/nowhere: Read-only file "
        "system): set the environment variable MINIDL_CACHE to a folder you may write\n"
    )


AFTER = """
import numpy as np
import minidl as md
from minidl import nn, optim
from minidl.kernels import _cache, _notice

read, found = _cache.read, []


def noted(key):
    found.append(read(key))
    return found[-1]


_cache.read = noted
compiled = []
_notice.on_compile(compiled.append)
md.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16, activation="relu"),
    nn.Conv2d(16, 32, 3, stride=2, padding="same", activation="relu"), nn.MaxPool2d(2),
    nn.DepthwiseConv2d(32, 3, padding=1), nn.Conv2d(32, 64, 1), nn.GlobalAvgPool2d(),
    nn.Dropout(0.5), nn.Linear(64, 10),
)
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for batch in (8, 5):
    x = np.random.default_rng(0).standard_normal((batch, 24, 20, 3)).astype(np.float32)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model.train()(x), np.arange(batch)).backward()
    optimizer.step()
    with md.no_grad():
        model.eval()(x)
assert not compiled, compiled
assert len(found) > 5
assert None not in found
"""


def test_after_warmup_a_training_compiles_nothing(tmp_path):
    """In the cache that all tests share: where they have run, most is compiled already."""
    run = child("warmup", folder=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = run.communicate()
    assert run.returncode == 0, err
    assert "compiling kernels for this machine" not in err  # the bar says it
    assert "kernels for float32 are compiled" in out
    done = subprocess.run(
        [sys.executable, "-c", AFTER], env=os.environ, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


# doctor


def report():
    """The status of `minidl doctor`, its rows by name, and what is wrong."""
    done = minidl("doctor")
    lines = done.out.splitlines()
    assert max(map(len, lines)) < 250
    rows = dict(line.split(maxsplit=1) for line in lines if not line.startswith(("wrong", "all")))
    assert list(rows) == list(doctor.CHECKS)
    wrong = [line.removeprefix("wrong: ") for line in lines if line.startswith("wrong: ")]
    assert ("all is well" in lines) == (not wrong)
    return done.status, rows, wrong


def test_a_healthy_machine():
    status, rows, wrong = report()
    assert (status, wrong) == (0, [])
    assert rows["minidl"].startswith(f"{md.__version__}, Python {sys.version.split()[0]}")
    for package in doctor.CORE:
        assert f"{package} {metadata.version(package)}" in rows["packages"]
    assert re.search(r"vectors of (64|32|16) bytes \(.+\)$", rows["CPU"])
    owners = "(threads of minidl's own|Python's threads)"
    assert re.fullmatch(f"{md.config.num_threads}, by {owners}", rows["threads"])
    assert rows["BLAS"]
    assert rows["cache"].startswith(f"{_cache.folder()}, ")
    assert float(rows["kernels"].rsplit(maxsplit=1)[1]) < 1e-5
    assert "examples" in rows["extras"]


def test_warm_and_cold(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache, "_prepared", lambda: (tmp_path, ""))
    assert doctor._cache() == f"{tmp_path}, empty: `minidl warmup` compiles all kernels ahead"
    for name in ("a.code", "b.code", _notice.MARK):
        (tmp_path / name).write_bytes(bytes(10**6))
    assert doctor._cache() == f"{tmp_path}, warm: 2 compiled, 2.0 MB"


@pytest.mark.usefixtures("no_cache")
def test_no_cache_is_wrong():
    status, rows, wrong = report()
    assert (status, rows["cache"]) == (1, "wrong, see below")
    assert wrong == [
        "cache: compiled kernels can't be kept (/nowhere: Read-only file system), so every run "
        "compiles anew: set the environment variable MINIDL_CACHE to a folder you may write"
    ]


def test_a_kernel_that_computes_otherwise_than_its_twin_is_wrong(monkeypatch):
    right = md.ops.matmul
    monkeypatch.setattr(
        md.ops, "matmul", lambda x, y: right(x, y) + 0.01 * (md.config.kernels == "fast")
    )
    status, _, wrong = report()
    assert status == 1
    assert len(wrong) == 1
    assert re.match(r"kernels: .* differ from the reference ones by 0\.00", wrong[0])
    assert 'md.config.kernels = "reference" is right but slow' in wrong[0]
    assert md.config.kernels == "fast"


def test_kernels_that_make_nan_are_wrong(monkeypatch):
    monkeypatch.setattr(md.ops, "matmul", lambda x, y: np.full((2, 2), np.nan))
    status, _, wrong = report()
    assert status == 1
    assert "differ from the reference ones by nan" in wrong[0]


def test_a_package_that_cannot_be_imported_is_wrong(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    status, _, wrong = report()
    assert status == 1
    assert re.fullmatch(
        r"packages: h5py can't be imported \(.+\): pip install --force-reinstall h5py", wrong[0]
    )


def test_a_check_that_fails_itself_does_not_hide_the_others(monkeypatch):
    def fail():
        raise KeyError("blas")

    monkeypatch.setitem(doctor.CHECKS, "BLAS", fail)
    status, rows, wrong = report()
    assert (status, wrong) == (1, ["BLAS: KeyError: 'blas'"])
    assert "examples" in rows["extras"]


def test_extras_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(doctor, "_installed", lambda name: name.lower() != "matplotlib")
    assert doctor._extras() == (
        "images, plots (lacks matplotlib), interop, logs, distributed, examples; "
        "pip install 'minidl[EXTRA]' brings what lacks"
    )
    monkeypatch.setattr(doctor, "_installed", lambda name: name not in ("matplotlib", "Jinja2"))
    expected = (
        "plots (lacks matplotlib, Jinja2), interop, logs, distributed, examples (lacks Jinja2)"
    )
    assert expected in doctor._extras()
