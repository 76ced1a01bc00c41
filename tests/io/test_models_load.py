"""models.load: the network itself out of a file of its weights, which may be hostile."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
from sealing import edit
from stand_in import a_model, same

import minidl as md
from minidl import models
from minidl.errors import FileFormatError, StateError


@pytest.fixture
def saved(tmp_path):
    model, path = models.lenet5(num_classes=3, in_channels=2), tmp_path / "w.h5"
    md.save_weights(model, path)
    return model, path


def with_arguments(path, arguments, name=None):
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)

    def change(file):
        file.attrs["arguments"] = np.bytes_(text.encode())
        if name is not None:
            file.attrs["architecture"] = name

    edit(path, change)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_the_network_with_its_arguments(tmp_path, compression):
    model, path = models.lenet5(3, in_channels=2), tmp_path / "w.h5"
    md.save_weights(model, path, compression=compression)
    found = models.load(path)
    assert type(found) is models.LeNet5
    assert same(found.state_dict(), model.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 2)).astype(np.float32)
    np.testing.assert_array_equal(found(x).data, model(x).data)
    assert found.architecture == model.architecture


def test_out_of_a_checkpoint(tmp_path):
    model = models.lenet5(3)
    md.save_checkpoint(tmp_path / "c.h5", model)
    assert same(models.load(tmp_path / "c.h5").state_dict(), model.state_dict())


def test_what_the_file_says_of_it(saved):
    with h5py.File(saved[1]) as file:
        assert file.attrs["architecture"] == b"lenet5"
        assert json.loads(file.attrs["arguments"]) == {"num_classes": 3, "in_channels": 2}


def test_no_random_number_is_drawn(saved):
    md.manual_seed(5)
    expected = models.lenet5(1).state_dict()
    md.manual_seed(5)
    models.load(saved[1])
    assert same(models.lenet5(1).state_dict(), expected)


def test_no_random_number_is_drawn_for_a_file_that_is_refused(saved):
    _, path = saved
    with_arguments(path, {"num_classes": 4, "in_channels": 2})
    md.manual_seed(5)
    expected = models.lenet5(1).state_dict()
    md.manual_seed(5)
    with pytest.raises((FileFormatError, StateError), match=r"classifier\.2\.weight"):
        models.load(path)
    assert same(models.lenet5(1).state_dict(), expected)


def test_a_file_without_an_architecture(tmp_path):
    md.save_weights(a_model(), tmp_path / "w.h5")
    with pytest.raises(FileFormatError, match=r"names no architecture.*md\.load_weights\(model"):
        models.load(tmp_path / "w.h5")


@pytest.mark.parametrize("name", ["lenet6", "", "os.system", "__class__", "é"])
def test_an_unknown_architecture(saved, name):
    _, path = saved
    with_arguments(path, {}, name)
    with pytest.raises(FileFormatError, match=f"expected a network of .*lenet5.*, found .*{name}"):
        models.load(path)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_classes": "three"},
        {"num_classes": None},
        {"num_classes": [3]},
        {"num_classes": [[[]]]},
        {"num_classes": {"a": 1}},
        {"num_classes": 0},
        {"num_classes": -3},
        {"num_classes": 2.5},
        {"num_classes": 3.0},
        {"num_classes": 1e300},
        {"num_classes": 2**21},
        {"num_classes": 10**400},
        {"num_classes": -(10**400)},
        {"num_classes": [2**40]},
        {"in_channels": 2**63},
        {"in_channels": 2**12, "num_classes": 2**12},
        {"in_channels": "2"},
        {"classes": 3},
        {"": 3},
        {"self": 3},
        {"name": "lenet5"},
        {"weights": "/etc/passwd"},
        {"weights": 1},
        {"args": [1], "kwargs": {}},
    ],
    ids=str,
)
def test_wrong_arguments(saved, arguments):
    _, path = saved
    with_arguments(path, {"num_classes": 3, "in_channels": 2, **arguments})
    with pytest.raises((FileFormatError, StateError)) as caught:
        models.load(path)
    assert len(str(caught.value)) < 2000


def test_true_is_no_number_of_classes(saved):
    _, path = saved
    with_arguments(path, {"num_classes": True, "in_channels": 2})
    with pytest.raises((FileFormatError, StateError)):
        models.load(path)


def test_the_file_names_no_other_file_to_load(saved, tmp_path, monkeypatch):
    _, path = saved
    other = tmp_path / "other.h5"
    md.save_weights(models.lenet5(3, 2), other)
    with_arguments(path, {"num_classes": 3, "in_channels": 2, "weights": str(other)})
    with pytest.raises(FileFormatError):
        models.load(path)


@pytest.mark.parametrize(
    "text", ["", "{", "3", "null", "[]", "[" * 20_000, '{"a":' * 9000, "1" * 9000, '"a"', "{}x"]
)
def test_arguments_that_are_none(saved, text):
    _, path = saved
    with_arguments(path, text)
    with pytest.raises(FileFormatError, match="arguments"):
        models.load(path)


def test_a_damaged_file_and_others(saved, tmp_path):
    _, path = saved
    good = path.read_bytes()
    for at in (100, 700, len(good) - 1):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(FileFormatError):
            models.load(path)
    (tmp_path / "x").write_bytes(b"hello, world")
    with pytest.raises(FileFormatError, match=r"expected weights .* found one starting"):
        models.load(tmp_path / "x")
    with pytest.raises(FileNotFoundError, match="could not read"):
        models.load(tmp_path / "nothing.h5")


def rss(code, *arguments):
    """How many bytes of memory Python code takes at most, by its own report."""
    code = f"import resource\n{code}\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(run.stdout.split()[-1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's way of counting memory")
def test_a_small_file_takes_little_memory(tmp_path):
    """Its arguments ask for a layer of 17 GB."""
    path = tmp_path / "w.h5"
    small = {"n": 1, "m": 1, "widths": [1], "input_size": 8, "hidden": 2}
    md.save_weights(models.plain_cnn(**small), path)
    code = "import sys, minidl as md\nfrom minidl import models\n"
    code += "try:\n    models.load(sys.argv[1])\nexcept md.errors.MinidlError as error:\n"
    code += "    print(type(error).__name__)"
    plain = rss(code, path)
    with_arguments(path, {**small, "hidden": 65_536, "k": 2})
    assert rss(code, path) < plain + 100e6


@pytest.mark.parametrize(
    "arguments",
    [{"widths": [2**62, 2**62]}, {"widths": [10**400, 1]}, {"widths": 5}, {"n": 10**9},
     {"widths": [[[[1]]]]}, {"m": 10**5}, {"k": 10**6}],
    ids=str,
)  # fmt: skip
def test_wrong_arguments_of_another_network(tmp_path, arguments):
    path = tmp_path / "w.h5"
    md.save_weights(models.plain_cnn(input_size=8), path)
    with_arguments(path, {"input_size": 8, **arguments})
    with pytest.raises((FileFormatError, StateError)):
        models.load(path)


@pytest.mark.parametrize(
    "images", ["", "3", "[]", "{}", "[" * 9000, '{"size": 1e999}',
               '{"size": 8, "order": "RGB", "scale": 1, "mean": [0], "std": [0]}'],
)  # fmt: skip
def test_image_formats_that_are_none(saved, images):
    _, path = saved
    edit(path, lambda file: file.attrs.update(image_format=np.bytes_(images.encode())))
    with pytest.raises(FileFormatError):
        models.load(path)
