"""Code that reads like PyTorch's doesn't do something else: what is given by place."""

import json
from pathlib import Path

import numpy as np
import pytest
from signatures import differences, misread, public

import minidl as md
from minidl import data, errors, nn, ops, optim
from minidl.data import transforms

F = nn.functional
TABLE = json.loads(Path(__file__).with_name("torch_signatures.json").read_text(encoding="utf-8"))


def test_no_argument_stands_where_pytorch_has_another():
    assert differences(TABLE) == []


def test_the_recorded_functions_are_those_that_are_public():
    names = {their for _, _, theirs in public() for their in theirs}
    assert TABLE.keys() <= names
    assert len(TABLE) > 200


def test_the_comparison_finds_what_differs():
    assert misread(["x", "p"], ["input", "p", "training"]) is None
    assert misread(["lr", "eps"], ["lr"]) is None
    assert misread(["lr", "eps"], ["lr", "lr_decay"]) == "eps stands where PyTorch has lr_decay"


def params():
    return [md.tensor([1.0, 2.0], requires_grad=True)]


X = md.tensor(np.ones((2, 3), np.float32), requires_grad=True)
LABELS = np.array([0, 1])

# Each means something else in PyTorch, or did in minidl.
CALLS = [
    lambda: md.grad((X * X).sum(), X, md.tensor(2.0)),
    lambda: (X * X).sum().backward(create_graph=True),
    lambda: optim.RMSprop(params(), 0.01, 0.99, 1e-8, 1e-4),
    lambda: optim.SGD(params(), 0.1, 0.9, 0.0, 1e-4),
    lambda: optim.Adagrad(params(), 0.01, 0.1),
    lambda: optim.Adam(params(), 1e-3, (0.9, 0.99)),
    lambda: F.cross_entropy(X, LABELS, None, 0.1),
    lambda: F.huber_loss(X, X, "sum"),
    lambda: F.mse_loss(X, X, "sum"),
    lambda: F.binary_cross_entropy_with_logits(X, X, X, X),
    lambda: nn.CrossEntropyLoss(None, None, 0),
    lambda: nn.HuberLoss("sum"),
    lambda: nn.MSELoss("sum"),
    lambda: nn.BCEWithLogitsLoss(np.ones(3), False),
    lambda: nn.BatchNorm2d(3, 1e-5, 0.1, False),
    lambda: nn.MaxPool2d(2, 2, 0, True),
    lambda: nn.Upsample(2),
    lambda: nn.Linear(3, 4, True, None),
    lambda: nn.Conv2d(3, 4, 3, 1, 1, 1, 1, True, "zeros"),
    lambda: F.max_pool2d(np.ones((1, 4, 4, 1), np.float32), 2, 2, 0, 2),
    lambda: F.upsample(np.ones((1, 4, 4, 1), np.float32), 2),
    lambda: F.pad(X, (1, 1)),
    lambda: nn.init.kaiming_normal(X.detach(), 0.2, "fan_out"),
    lambda: nn.init.xavier_uniform(X.detach(), 1.0, 3),
    lambda: ops.split(X, 1),
    lambda: ops.transpose(X, 0, 1),
    lambda: ops.stack([X, X], 1),
    lambda: ops.concatenate([X, X], 1),
    lambda: ops.max(X, X),
    lambda: X.max(0),
    lambda: X.min(0, True),
    lambda: X.var(0, True),
    lambda: data.DataLoader(data.ArrayDataset(np.ones(4)), 2, True, None),
    lambda: data.ImageFolder("pets", 32),
    lambda: transforms.Normalize(0.5, 0.5, True),
    lambda: transforms.RandomAffine(10, (0.1, 0.1), (0.9, 1.1)),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_what_reads_as_something_else_is_a_type_error(number):
    with pytest.raises(TypeError, match=r"positional|by place|by name|unexpected keyword"):
        CALLS[number]()


def test_settings_by_place_are_told_by_name():
    with pytest.raises(errors.CallError, match=r"split takes x by place, got 2 .*: use sections="):
        X.split(3, axis=1)
    with pytest.raises(errors.CallError, match=r"var takes x, axis by place, got 3 .* give corr"):
        X.var(0, True)


@pytest.mark.parametrize("axes", [(0, 1), (0, -1), (-2, 1), (-2, -1)])
def test_a_transposition_that_swaps_nothing(axes):
    """NumPy leaves a matrix as it is; PyTorch swaps its axes."""
    with pytest.raises(errors.ArgumentError, match=r"x\.T or x\.transpose\(1, 0\)"):
        X.transpose(*axes)
    assert X.T.shape == X.transpose(1, 0).shape == (3, 2)
    assert X.transpose((0, 1)).shape == (2, 3)


def test_the_vertical_and_the_horizontal():
    """A pair means (horizontal, vertical) in torchvision's transforms."""
    image = np.zeros((1, 9, 9, 1), np.float32)
    image[0, 4, 4] = 1
    moved = [
        transforms.RandomAffine(translate=(0.4, 0))(image, np.random.default_rng(seed))[0, :, :, 0]
        for seed in range(20)
    ]
    rows, columns = (
        {int(m.sum(axis=axis).argmax()) for m in moved} for axis in (1, 0)
    )  # fmt: skip
    assert rows == {4}
    assert len(columns) > 3
