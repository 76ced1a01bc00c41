"""What a notebook shows of an object that is a cell's last expression."""

import io
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pictures import class_folders
from PIL import Image

import minidl as md
from minidl import analysis, data, models, nn, optim, train
from minidl.data import transforms
from minidl.train.range_finder import LearningRateRange

KNOWN = {"table", "tr", "th", "td", "p", "details", "summary"}


class Shown(HTMLParser):
    """What stands in HTML: rows of tables, and texts outside of them."""

    def __init__(self, shown):
        super().__init__()
        self.open, self.tables, self.texts = [], [], []
        self.feed(shown._repr_html_())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert tag in KNOWN
        assert all(name == "style" and "color" not in value for name, value in attributes)
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += text
        elif text.strip():
            self.texts.append(text)


class Counted(data.Dataset):
    """Two hundred images of two classes, of which each reading counts."""

    classes = ("<b>bold</b>", "b&w")
    labels = np.repeat([0, 1], [150, 50])
    read = 0

    def __len__(self):
        return 200

    def __getitem__(self, index):
        self.read += 1
        return np.zeros((4, 5, 3), np.uint8), self.labels[index]


def test_a_data_set_reads_one_item_and_escapes_names():
    dataset = Counted()
    facts, classes = Shown(dataset).tables
    assert facts == [
        ["Counted", ""], ["items", "200"], ["item 0", "(4, 5, 3) uint8, () int64"],
    ]  # fmt: skip
    assert classes == [["class", "items"], ["<b>bold</b>", "150"], ["b&w", "50"]]
    assert dataset.read == 1
    part = Shown(data.Subset(dataset, range(140, 160)))
    assert part.tables[1][1:] == [["<b>bold</b>", "10"], ["b&w", "10"]]


def test_a_loader_makes_no_batch():
    dataset = Counted()
    loader = data.DataLoader(
        dataset, 32, shuffle=True, seed=5, transform=[transforms.RandomCrop(4), np.negative]
    )
    before = loader.state_dict()
    settings, facts, _ = Shown(loader).tables
    assert settings == [
        ["DataLoader", ""], ["batches", "7"], ["batch_size", "32"], ["shuffle", "True"],
        ["seed", "5"], ["drop_last", "False"], ["workers", "0"],
        ["transform", "RandomCrop, negative"], ["augment", "False"],
    ]  # fmt: skip
    assert facts[0] == ["Counted", ""]
    assert loader.state_dict() == before
    assert dataset.read == 1


def test_data_sets_of_all_kinds(tmp_path):
    class_folders(tmp_path / "pets", {"<b>": 3, "cat": 2}, size=(8, 9))
    facts, classes = Shown(data.ImageFolder(tmp_path / "pets")).tables
    assert facts[1:] == [["items", "5"], ["item 0", "(8, 9, 3) uint8, () int64"]]
    assert classes[1:] == [["<b>", "3"], ["cat", "2"]]
    many = data.ArrayDataset(np.zeros((90, 2), np.float32), np.arange(90) % 30)
    _, classes = Shown(many).tables
    assert [row[0] for row in classes[1:21]] == [str(n) for n in range(20)]
    assert classes[21:] == [["10 more", "30"]]
    assert len(Shown(data.ArrayDataset(np.zeros((3, 2)))).tables) == 1  # no labels


def test_a_data_set_that_cannot_be_read_says_so(tmp_path):
    for file in class_folders(tmp_path / "pets", {"cat": 1, "dog": 1}):
        file.write_bytes(b"")
    facts = Shown(data.ImageFolder(tmp_path / "pets")).tables[0]
    assert facts[2][0] == "item 0"
    assert facts[2][1].startswith("can't be read: ")


def test_a_summary_is_its_table():
    found = md.summary(nn.Sequential(nn.Sequential(nn.Linear(3, 4)), nn.Linear(4, 2)), (3,))
    found.title = "<i>"
    shown = Shown(found)
    layers, shares = shown.tables
    assert layers[0][:3] == ["layer", "output", "parameters"]
    assert [row[0] for row in layers[1:]] == [
        "0 Sequential", "  0 Linear", "1 Linear", "total"
    ]  # fmt: skip
    assert layers[-1][2] == "26"
    assert shares[2][0] == "linear"
    assert shown.texts[0] == "<i> on an input of 1 x 3; 26 of 26 parameters are trained"


def test_fit_as_a_last_expression_adds_one_line(capsys):
    md.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.01), metrics=["accuracy"])
    history = trainer.fit(data.DataLoader(data.digits()[1], 64), epochs=3)
    printed = capsys.readouterr().out
    assert printed == f"{history}\n"  # a line an epoch
    shown = Shown(history)
    assert shown.texts == [repr(history)]
    assert "\n" not in repr(history)
    assert history._repr_html_().startswith("<details>")
    (table,) = shown.tables
    assert table[0] == ["epoch", "lr", "loss", "accuracy", "seconds"]
    assert [row[0] for row in table[1:]] == ["1", "2", "3"]
    assert table[3][2] == f"{history['loss'][2]:.4f}"
    assert table[1][1] == "0.01"


def test_histories_of_nothing_and_of_uneven_rows():
    assert Shown(train.History()).texts == ["History: nothing trained yet"]
    row = {"epoch": 1, "lr": 1e-05, "loss": float("nan"), "seconds": 2.0}
    rows = [row, row | {"epoch": 2, "<u>": 0.5, "val_loss": None, "seconds": 0.25}]
    (table,) = Shown(
        train.History([rows[0] | {"val_loss": 3.0}, rows[1] | {"val_loss": 1.0}])
    ).tables
    assert table == [
        ["epoch", "lr", "loss", "seconds", "val_loss", "<u>"],
        ["1", "1e-05", "nan", "2.0", "3.0000", ""],
        ["2", "1e-05", "nan", "0.2", "1.0000", "0.5000"],
    ]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: analysis.plot_filters(nn.Conv2d(3, 4, 3)),
        lambda: analysis.plot_receptive_fields(models.lenet5()),
        lambda: analysis.plot_saliency(np.zeros((4, 4, 3)), {"a": np.eye(4)}),
        lambda: train.plot_history([{"epoch": 1, "loss": 1.0}]),
        lambda: LearningRateRange(np.array([0.1, 1.0]), np.array([2.0, 1.0])).plot(),
    ],
)
def test_figures_show_themselves(draw):
    figure = draw()
    assert isinstance(figure, Figure)
    assert type(figure.canvas) is FigureCanvasAgg
    with Image.open(io.BytesIO(figure._repr_png_())) as drawn:
        assert drawn.format == "PNG"
        assert min(drawn.size) > 100


def test_nothing_warns_in_a_notebook_without_widgets():
    """tqdm.auto would, and swallows the warning where it is an error."""
    code = """
import sys, types
kernel = types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: kernel)
sys.modules |= {"ipykernel.zmqshell": kernel, "ipywidgets": None}
import minidl.train, minidl.cli
"""
    run = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], check=True, capture_output=True, text=True
    )
    assert "TqdmWarning" not in run.stderr
