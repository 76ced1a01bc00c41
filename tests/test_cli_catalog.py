"""`minidl models`: the list, and all of one network."""

import re

import numpy as np
import pytest
from command import minidl

from minidl import models
from minidl.models.catalog import entry


def test_the_list():
    done = minidl("models")
    assert (done.status, done.err) == (0, "")
    head, _, *lines = done.out.splitlines()
    assert head.split() == ["network", "weights", "of", "input", "parameters"]
    rows = {line.split()[0]: re.split(r" {2,}", line)[1:] for line in lines}
    assert list(rows) == models.list()
    # LeCun et al. 1998 and He et al. 2016; the last has weights of nobody
    assert rows["lenet5"] == ["minidl (mnist)", "32 x 32 x 1", "61,706"]
    assert rows["resnet50"] == ["torchvision, Keras Applications", "224 x 224 x 3", "25,557,032"]
    assert rows["nin_cifar"] == ["32 x 32 x 3", "966,986"]


def test_one_network():
    done = minidl("models", "squeezenet1_1")
    assert (done.status, done.err) == (0, "")
    for line in (
        r"squeezenet1_1",
        r"SqueezeNet 1\.1, the authors' later one\..*",
        r'family +SqueezeNet: Iandola et al\. 2016, "AlexNet-level accuracy .*"\.',
        r"input +224 x 224 x 3",
        r"parameters +1,235,496",
        r"num_classes +1000",
        r"none +models\.create\('squeezenet1_1'\)",
        r"torchvision +models\.create\('squeezenet1_1', weights='squeezenet1_1\.safetensors'\)",
        r"torchvision writes the file with",
        r"  safetensors\.torch\.save_file\(model\.state_dict\(\), "
        r"'squeezenet1_1\.safetensors'\)",
        r"minidl train --model squeezenet1_1 --data IMAGES",
        r"minidl finetune squeezenet1_1\.safetensors IMAGES",
    ):
        assert re.search(rf"^{line}$", done.out, re.M), line


def test_how_it_says_to_load_works():
    told = minidl("models", "lenet5").out
    call = re.search(r"^minidl's 'mnist' +(.*)$", told, re.M)[1]
    model = eval(call, {"models": models})
    assert model.classes == [str(digit) for digit in range(10)]


def test_arguments_are_those_of_the_function():
    found = entry("resnet50")
    assert found.arguments["stride_in"] == "3x3"
    model = models.create("resnet50", **found.arguments)
    assert model.num_parameters == found.parameters
    assert np.all(model.input_shape == found.input_shape)


@pytest.mark.parametrize(
    ("name", "message"), [("lenet", "did you mean lenet5"), ("squeezenet", "squeezenet1_1 or ")]
)
def test_an_unknown_name(name, message):
    done = minidl("models", name)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"minidl models: models.create: there is no network {name!r}: ")
    assert message in done.err
    assert done.err.count("\n") == 1
