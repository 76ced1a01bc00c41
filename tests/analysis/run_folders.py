"""Folders of runs to report on, and pages as a reader sees them."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

NASTY = "<script>alert(1)</script>\"'&{{ 7 * 7 }}<img src=http://x.example/y>\u202e\x1b[31m"
GREEN, RED, GREY = (30, 160, 60), (170, 30, 40), (120, 120, 160)  # of the pictures
BLUE, ORANGE, DARK = (0, 114, 178), (200, 80, 10), (15, 18, 22)
EMPTY = {"meta", "img", "br", "link", "input"}


def history(count, start=0.4):
    """Made-up rows: the loss falls, the accuracy rises."""
    return [
        {
            "epoch": e,
            "lr": 0.1,
            "loss": 1 / e,
            "accuracy": 1 - (1 - start) / e,
            "val_loss": 1.2 / e,
            "val_accuracy": 0.95 - (0.95 - start) / e,
            "seconds": 2.0,
        }
        for e in range(1, count + 1)
    ]


def approach(name, classes, epochs, seed=0):
    """Guesses at random, measured by scikit-learn."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(len(classes), size=40 * len(classes))
    guess = np.where(
        rng.random(len(truth)) < 0.8, truth, rng.integers(len(classes), size=len(truth))
    )
    labels = range(len(classes))
    figures = precision_recall_fscore_support(truth, guess, labels=labels, zero_division=0)
    precision, recall, _, count = figures
    return {
        "name": name,
        "accuracy": float((truth == guess).mean()),
        "rank5": None,
        "loss": 0.25,
        "seconds": 75.0,
        "trained_parameters": 3228864,
        "epochs": epochs,
        "confusion": confusion_matrix(truth, guess, labels=labels).tolist(),
        "per_class": [
            {"class": c, "precision": float(p), "recall": float(r), "count": int(n)}
            for c, p, r, n in zip(classes, precision, recall, count, strict=True)
        ],
    }


def fake(classes=("ants", "bees"), epochs=12, mistakes=3):
    settings = {
        "command": "finetune", "model": "mobilenet", "data": "photos/hymenoptera", "seed": 0,
        "optimizer": {"lr": 0.01, "momentum": 0.9}, "augment": True, "minidl": "0.1.0",
        "python": "3.12.1", "numpy": "2.4.0", "started": "2026-03-07T14:05:00+0000",
    }  # fmt: skip
    results = {
        "classes": list(classes),
        "count": {"train": 1244, "validation": 153},
        "approaches": [
            approach("linear probe", classes, [], 1),
            approach("warm-up", classes, history(1), 2),
            approach("fine-tuned", classes, history(epochs), 3),
            approach("from scratch", classes, history(epochs, 0.1), 4),
        ],
        "best": "fine-tuned",
        "by_class": {"train": [1244 - 12 * i for i in range(len(classes))],
                     "validation": [153 + i for i in range(len(classes))]},
        "augmented": [f"augmented/{i:03d}.png" for i in range(1, 5)],
        "gain": {"points": 0.012, "within": 0.009},
        "time": {"compiling kernels": 30.0, "fine-tuned": 90.0},
        "mistakes": [
            {"image": f"mistakes/{i:03d}.png", "heat": f"heat/{i:03d}.png",
             "file": f"val/{i}.jpg", "truth": classes[0], "guess": classes[1],
             "probability": 0.98 - i / 100}
            for i in range(1, mistakes + 1)
        ],
        "skipped": [{"file": "val/notes.txt", "reason": "it is no image"}],
    }  # fmt: skip
    results["approaches"][2] |= {
        "share": 0.5, "lr": 3e-4, "training": {"right": 495, "count": 500},
        "tried": [{"share": share, "accuracy": 0.9, "loss": 0.25} for share in (0.0, 0.5, 1.0)],
        "calibration": {"error": 0.0625, "bins": [
            {"confidence": 0.55, "accuracy": 0.6, "count": 20},
            {"confidence": 0.95, "accuracy": 0.875, "count": 60},
        ]},
    }  # fmt: skip
    return {"settings": settings, "history": {"epochs": [], "test": None}, "results": results}


def save(folder, files):
    folder.mkdir(exist_ok=True)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    results = files.get("results", {})
    mistakes = results.get("mistakes", ())
    for colour, names in (
        (GREEN, [each["image"] for each in mistakes]),
        (RED, [each["heat"] for each in mistakes if each.get("heat")]),
        (GREY, results.get("augmented", ())),
    ):
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (128, 96), colour).save(folder / name)
    return folder


class Page(HTMLParser):
    """The page as a browser takes it: its tags, their attributes and the texts shown."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.source = Path(path).read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == [], "every tag is closed"
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.texts.append(data)

    def with_class(self, name):
        return [a for _, a in self.tags if name in (a.get("class") or "").split()]


def assert_alone(page):
    """Nothing is loaded from anywhere, and nothing runs."""
    assert not {t for t, _ in page.tags} & {"script", "link", "iframe", "object", "base", "form"}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action", "data", "xlink:href"):
                assert value.startswith("data:image/png;base64,")
    style = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)
