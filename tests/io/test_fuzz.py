"""A light run of the fuzzer; `python tests/io/fuzz.py --help` tells of longer ones."""

import random

import fuzz
import mutations
import pytest
import sealing
import specimens


@pytest.mark.parametrize(("own", "count"), [(True, 300), (False, 25)], ids=["own", "foreign"])
def test_damaged_and_hostile_files(tmp_path, own, count):
    fuzzer = fuzz.Fuzzer(tmp_path, seed=1, own=own)
    results = [fuzzer.case(number) for number in range(count)]
    wrong = [f"{result['label']}: {result['wrong']}" for result in results if result["wrong"]]
    assert wrong == []
    outcomes = {result["outcome"] for result in results}
    assert outcomes >= {"FileFormatError", "loaded"}


def test_the_files_that_are_mutated_load(tmp_path):
    for fuzzer in (fuzz.Fuzzer(tmp_path, own=True), fuzz.Fuzzer(tmp_path, own=False)):
        for specimen in fuzzer.specimens:
            path = tmp_path / f"good {specimen.name}"
            path.write_bytes(specimen.content)
            outcome = fuzz.outcome_of(specimen.kind, path)
            unread = "references" in specimen.name
            assert outcome == ("FileFormatError" if unread else "loaded", ""), specimen.name


def test_a_worker_that_dies_and_one_that_finds_a_bug_are_violations(tmp_path, monkeypatch, capsys):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, os, pathlib, sys\n"
        "folder, first = sys.argv[2], int(sys.argv[4])\n"
        "for number in range(first, 5):\n"
        "    path = pathlib.Path(folder, f'case {number}.h5')\n"
        "    path.write_text(str(number))\n"
        "    print(json.dumps({'number': number}), flush=True)\n"
        "    if number == 2: os.abort()\n"
        "    wrong = 'wrong numbers' if number == 3 else ''\n"
        "    result = {'number': number, 'label': 'x', 'outcome': 'loaded', 'wrong': wrong}\n"
        "    print(json.dumps({**result, 'seconds': 1, 'file': str(path)}), flush=True)\n"
    )
    monkeypatch.setattr(fuzz, "__file__", str(worker))
    assert fuzz.main(["--count", "5", "--keep", str(tmp_path / "kept")]) == 1
    printed = capsys.readouterr().out
    assert "case 2, death: the worker ended (-6)" in printed
    assert "case 3, x: wrong numbers" in printed
    assert "5 files; " in printed
    assert "2 violations" in printed
    assert {f.name: f.read_text() for f in (tmp_path / "kept").iterdir()} == {
        "case 2.h5": "2", "case 3.h5": "3",
    }  # fmt: skip


def test_seals_and_checksums_written_from_their_descriptions(tmp_path):
    for specimen in specimens.own(tmp_path):
        content = specimen.content
        assert sealing.resealed(content) == content
        if specimen.kind == "weights":
            blocks = sealing.summed_blocks(content)
            assert len(blocks) > 20
            assert sealing.with_sums(content, blocks) == content


def test_mutations_are_the_same_each_time(tmp_path):
    for specimen in [*specimens.own(tmp_path)[:2], *specimens.foreign()]:
        mutate = mutations.mutate_own if specimen.kind == "weights" else mutations.mutate_foreign
        one, other = ([mutate(random.Random(i), specimen) for i in range(9)] for _ in range(2))
        assert one == other
        assert len({entry[1] for entry in one}) > 5
