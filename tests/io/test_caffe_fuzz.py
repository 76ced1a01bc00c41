"""A light run of the fuzzer of Caffe's files."""

from collections import Counter

import caffe_fuzz


def test_damaged_and_hostile_files(tmp_path):
    outcomes: Counter[str] = Counter()
    for seed in range(300):
        done, outcome, wrong = caffe_fuzz.case(seed, tmp_path)
        assert wrong == "", f"case {seed}, {done}"
        outcomes[outcome] += 1
    assert outcomes.keys() >= {"FileFormatError", "StateError", "loaded"}
