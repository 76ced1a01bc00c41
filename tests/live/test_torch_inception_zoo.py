"""Inception v3 and Xception against the same in PyTorch: weights carried over, gradients."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from torch_compare import torch
from zoo_compare import (
    Case,
    arrays,
    assert_close,
    check_outputs,
    check_step,
    created,
    images,
    made,
    named,
    planes,
    randomized,
    training,
)

from minidl import models, nn
from minidl.models.sources import SIGNED
from minidl.models.xception import KERAS

import torch_inception_networks as zoo  # isort: skip  # needs torch: torch_compare looked for it

INCEPTION = Case(
    partial(zoo.inception_v3, aux=False), "inception_v3", (80, 83), replace(SIGNED, size=299)
)
XCEPTION = Case(zoo.Xception, "xception", (71, 80), None, rename=KERAS.translate)
CASES = {"inception_v3": INCEPTION, "xception": XCEPTION}


@pytest.mark.parametrize("name", CASES)
def test_weights_of_pytorch_compute_the_same(name):
    case = CASES[name]
    net = made(case)
    model = created(case, arrays(named(case, net.state_dict())))
    assert model.image_format == case.image_format
    check_outputs(case, net, model, contrast=4.0)


@pytest.mark.parametrize("name", CASES)
def test_a_step_of_training_has_the_same_gradients(name, float64):
    check_step(CASES[name], np.float64, 1e-6)


def test_inception_with_its_auxiliary_head(float64):
    case = INCEPTION._replace(size=(299, 299))
    net = zoo.inception_v3(10)
    net.load_state_dict(randomized(case).state_dict(), strict=False)
    net.double()
    model = created(case, arrays(net.state_dict()), auxiliary=True)
    training(model, nn.Dropout)
    training(net, torch.nn.Dropout)
    x, target = images(case, 2).astype(np.float64), np.array([3, 1])
    scores, expected = model(x), net(planes(x))
    for ours, theirs in zip(scores, expected, strict=True):
        assert_close(ours.data, theirs.detach(), 1e-8)
    loss = torch.nn.CrossEntropyLoss()
    total = sum(w * loss(e, torch.from_numpy(target)) for w, e in zip((1, 0.3), expected))
    ours = models.AuxiliaryLoss()(scores, target)
    assert ours.item() == pytest.approx(total.item(), rel=1e-9)
    total.backward()
    ours.backward()
    gradients = {name: p.grad for name, p in net.named_parameters()}
    wanted = created(case, arrays(net.state_dict() | gradients), auxiliary=True).state_dict()
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, wanted[name], 1e-6, f"gradient of {name}")
