"""Record what pycocotools makes of the cases of `detection_cases`, or compare with it.

    python tests/apps/record_coco.py                 writes coco_figures.json
    python tests/apps/record_coco.py --compare 1000  compares so many other cases, live

It needs `pip install pycocotools`, which isn't among the extras. The tests read the file.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from detection_cases import by_pycocotools, case, checksum

from minidl.apps import detect

RECORDED = Path(__file__).with_name("coco_figures.json")
CASES = 40


def record():
    rows = []
    for seed in range(CASES):
        predictions, targets, classes = case(seed)
        figures = by_pycocotools(predictions, targets, classes)
        if figures is not None:
            rows.append({"seed": seed, "crc32": checksum(predictions, targets), "figures": figures})
    lines = ",\n".join(json.dumps(row) for row in rows)
    RECORDED.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def compare(count):
    worst = 0.0
    for seed in range(10_000, 10_000 + count):
        predictions, targets, classes = case(seed)
        expected = by_pycocotools(predictions, targets, classes)
        if expected is None:
            continue
        found = detect.measure(predictions, targets, [str(i) for i in range(classes)]).coco
        difference = np.abs(np.nan_to_num([*found.values()], nan=-1) - expected).max()
        worst = max(worst, float(difference))
        if difference > 1e-6:
            print(f"case {seed}: {found} instead of {expected}")
    print(f"{count} cases, largest difference {worst:.3g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compare", type=int, metavar="N")
    options = parser.parse_args()
    record() if options.compare is None else compare(options.compare)
