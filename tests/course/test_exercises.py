"""The exercises of the course: solutions pass, skeletons are unwritten, mistakes are explained."""

import inspect
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from wrong_answers import wrong_answers

from course.check import FOLDER, load, main
from course.checks import (
    PASSED,
    UNWRITTEN,
    WRONG,
    Wrong,
    agrees,
    call,
    check,
    compare,
    exercises,
    near,
    parts,
)  # fmt: skip

COURSE = FOLDER.parent
EXERCISES = {each.name: each for each in exercises()}
CHAPTERS = sorted({each.chapter for each in EXERCISES.values()})
WRONGS = wrong_answers()
every_exercise = pytest.mark.parametrize("name", EXERCISES)
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS)


def answers(kind, chapter):
    return load(COURSE / kind / f"chapter_{chapter:02}.py")


def functions(module):
    """The functions that a module defines, by name, in order."""
    found = vars(module).items()
    return {name: f for name, f in found if getattr(f, "__module__", "") == module.__name__}


@every_exercise
def test_the_solution_passes(name):
    each = EXERCISES[name]
    result = each.result(getattr(answers("solutions", each.chapter), name))
    assert result == (name, PASSED, "")


@every_exercise
def test_the_skeleton_is_not_yet_written(name):
    each = EXERCISES[name]
    assert each.result(getattr(answers("exercises", each.chapter), name)).status == UNWRITTEN


@pytest.mark.parametrize("number", range(len(WRONGS)))
def test_a_wrong_answer_is_told_its_mistake(number):
    name, says, answer = WRONGS[number]
    result = EXERCISES[name].result(answer)
    assert result.status == WRONG
    assert re.search(says, result.message), result.message
    assert re.search(r"See section \d+\.\d+\.$", result.message)


def test_every_exercise_has_two_wrong_answers_and_each_is_told_something_else():
    found = Counter(each.exercise for each in WRONGS)
    assert [name for name in found if name not in EXERCISES] == []
    assert [name for name in EXERCISES if found[name] < 2] == []
    assert len({(each.exercise, each.says) for each in WRONGS}) == len(WRONGS)


@every_chapter
def test_exercises_and_solutions_have_the_same_functions(chapter):
    skeletons = functions(answers("exercises", chapter))
    solved = functions(answers("solutions", chapter))
    names = [each.name for each in exercises(chapter)]
    assert list(skeletons) == names
    assert len(names) >= 3
    assert [name for name in solved if name in skeletons] == names  # helpers may be more
    for name in names:
        assert inspect.signature(skeletons[name]) == inspect.signature(solved[name])
        assert inspect.getdoc(skeletons[name]) == inspect.getdoc(solved[name])
        assert inspect.getdoc(skeletons[name])


@every_chapter
def test_the_chapter_tells_of_its_exercises(chapter):
    (path,) = COURSE.glob(f"{chapter:02}_*.py")
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^# ## (\d+\.\d+) ", text, re.M)
    for each in exercises(chapter):
        assert f"`{each.name}`" in text
        assert each.section in headings
    sections = re.findall(r'"(\d+\.\d+)"', inspect.getsource(inspect.getmodule(each.check)))
    assert {name for name in sections if name.startswith(f"{chapter}.")} <= {*headings}


# The command


@every_chapter
def test_the_command_passes_solutions(chapter, capsys):
    assert main([str(chapter), str(COURSE / f"solutions/chapter_{chapter:02}.py")]) == 0
    count = len(exercises(chapter))
    out = capsys.readouterr().out
    assert out.startswith(f"chapter {chapter}: {count} of {count} exercises passed\n")


def test_the_command_as_a_reader_runs_it():
    command = [sys.executable, "-W", "error", "-m", "course.check", "1"]
    done = subprocess.run(command, cwd=COURSE.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        "chapter 1: 0 of 4 exercises passed\n\n"
        "divide             not yet written\n"
        "tanh_rule          not yet written\n"
        "topological_order  not yet written\n"
        "backward           not yet written\n"
    )


def test_the_command_tells_what_is_wrong(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("def divide(a, b):\n    return a / b, 1 / b, nothing\n")
    assert main(["1", str(file)]) == 1
    out = capsys.readouterr().out
    assert "divide             wrong\ntanh_rule          not yet written\n" in out
    assert "\ndivide:\n    it raised NameError: name 'nothing' is not defined, in line 2 of" in out
    assert "mine.py: return a / b, 1 / b, nothing. See section 1.3." in " ".join(out.split())


def test_the_command_tells_of_a_file_that_does_not_run(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("def divide(a, b)\n    return 1\n")
    assert main(["1", str(file)]) == 1
    out = capsys.readouterr().out
    assert "doesn't run" in out
    assert "line 1" in out
    assert "SyntaxError: expected ':'" in out
    with pytest.raises(SystemExit):
        main(["1", str(tmp_path / "nothing.py")])
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["77"])
    assert "invalid choice: 77" in capsys.readouterr().err


# In a notebook


def test_check_of_a_function(capsys):
    def tanh_rule(y, g):
        return (1 - y**2) * g

    check(tanh_rule)
    assert capsys.readouterr().out == "tanh_rule: passed\n"
    with pytest.raises(ValueError, match="no exercise called nothing; there are: divide, "):
        check(type("nothing", (), {}))


# What checks are made of


def test_an_answer_that_writes_to_its_arguments_is_told():
    def answer(x, y):
        y += x
        return y

    with pytest.raises(Wrong, match="argument 2 of answer isn't what it was"):
        call(answer, np.ones(3), np.ones(3))
    x = np.ones(3)
    assert call(lambda x: x + 1, x).tolist() == [2, 2, 2]
    words = np.array(["a", "b"])
    assert call(list, words) == ["a", "b"]
    assert call(list, words.astype(object)) == ["a", "b"]


def test_parts():
    assert parts([1, 2], "ab") == (1, 2)
    for found, said in (
        (None, "is `return` missing"),
        (3.0, "one float"),
        ((1, 2, 3), "returned 3"),
    ):
        with pytest.raises(Wrong, match=f"should return 2 results, a, b.*{said}"):
            parts(found, "ab")


def test_comparisons():
    wanted = np.arange(6.0).reshape(2, 3) ** 2 + 1
    compare(wanted + 1e-9, wanted)
    cases = [
        (None, "x is None: is `return` missing"),
        ("text", "array of numbers, got str"),
        ([[1, 2], [3]], "array of numbers, got list"),
        (wanted[0], r"shape \(3,\); it should have shape \(2, 3\)"),
        (wanted * np.nan, "NaN"),
        (-wanted, "its sign is wrong"),
        (wanted * 3, "3 times too large, the length of axis 1"),
        (wanted + 7, "the mistake"),
        (wanted**2, r"worst entry is \[1, 2\]: 676, where it should be 26"),
    ]
    for found, said in cases:
        with pytest.raises(Wrong, match=said):
            compare(found, wanted, {"the mistake": wanted + 7}, what="x")
    with pytest.raises(Wrong, match="x is 3; it should be 4"):
        compare(3, 4, what="x")


def test_nearness_is_relative_to_the_largest():
    assert near([1e6, 0.1], [1e6, 0])
    assert not near([1, 0.1], [1, 0])
    assert not near([np.inf], [np.inf])
    assert not near([1], [[1]])


def test_a_backward_is_compared_with_differences():
    x = np.arange(3.0)
    agrees(lambda x: x**2, [x], lambda g, x: 2 * g * x)
    with pytest.raises(Wrong, match=r"md.gradcheck compared it(?s:.*)0.5 times"):
        agrees(lambda x: x**2, [x], lambda g, x: g * x)


def test_files_are_small():
    """Those of code; a chapter is mostly prose."""
    for path in COURSE.rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 400 or path.name[0].isdigit()
