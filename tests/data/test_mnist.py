"""The MNIST files: what is read, what is refused, and how they are fetched."""

import functools
import gzip
import hashlib
import http.server
import importlib
import struct
import threading

import numpy as np
import pytest

from minidl.data import mnist
from minidl.errors import FileFormatError

source = importlib.import_module("minidl.data.mnist")  # the file, beside the function of that name
FILES = source.FILES
NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def images_file(images):
    return struct.pack(">IIII", 2051, *images.shape) + images.tobytes()


def labels_file(labels):
    return struct.pack(">II", 2049, len(labels)) + labels.tobytes()


def small_files(seed=0):
    """A small set of the same form: file name -> unpacked content, and its arrays."""
    rng = np.random.default_rng(seed)
    contents, arrays = {}, {}
    for part, length in (("train", 30), ("test", 12)):
        images = rng.integers(0, 256, (length, 28, 28)).astype(np.uint8)
        labels = rng.integers(0, 10, length).astype(np.uint8)
        arrays[part] = images, labels
        contents[NAMES[part][0]] = images_file(images)
        contents[NAMES[part][1]] = labels_file(labels)
    return contents, arrays


def write(folder, contents, gzipped=True):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        if gzipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "mnist", small_files()[0])
    return tmp_path / "mnist"


# Reading


def test_the_real_files(shared_data):
    train, test = mnist(shared_data / "mnist")
    images, labels = train.arrays
    assert images.shape == (60_000, 32, 32, 1)
    assert images.dtype == np.float32
    assert labels.dtype == np.int64
    assert test.arrays[0].shape == (10_000, 32, 32, 1)
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.arrays[1][:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # The classes' sizes as published for the data set.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(labels).tolist() == counts
    assert abs(images.mean(dtype=np.float64)) < 1e-6
    assert abs(images.std(dtype=np.float64) - 1) < 1e-6
    # Known widely: over 28 x 28 pixels mean 0.1307 and deviation 0.3081, so over 32 x 32 a mean
    # of 0.1307 * (28 / 32)**2 and so on; black and white are where these put them.
    share = (28 / 32) ** 2
    mean = 0.1307 * share
    deviation = np.sqrt((0.3081**2 + 0.1307**2) * share - mean**2)
    assert images.min() == pytest.approx(-mean / deviation, abs=1e-3)
    assert images.max() == pytest.approx((1 - mean) / deviation, abs=1e-3)


def test_the_digests_are_those_of_the_real_files(shared_data):
    for name, digest in FILES.items():
        content = gzip.decompress((shared_data / "mnist" / f"{name}.gz").read_bytes())
        assert hashlib.sha256(content).hexdigest() == digest


@pytest.mark.parametrize("gzipped", [True, False])
def test_small_files(tmp_path, gzipped):
    contents, arrays = small_files()
    write(tmp_path, contents, gzipped)
    parts = dict(zip(("train", "test"), mnist(str(tmp_path)), strict=True))
    padded = {}
    for part, (images, labels) in arrays.items():
        padded[part] = np.zeros((len(images), 32, 32, 1))
        padded[part][:, 2:30, 2:30, 0] = images / 255
        np.testing.assert_array_equal(parts[part].arrays[1], labels)
    mean, deviation = padded["train"].mean(), padded["train"].std()
    for part in padded:
        expected = (padded[part] - mean) / deviation
        np.testing.assert_allclose(parts[part].arrays[0], expected, atol=1e-6)


def test_padding_is_the_tone_of_a_black_pixel(folder):
    images = mnist(folder)[0].arrays[0]
    black = images[small_files()[1]["train"][0].nonzero()[0][0], 0, 0, 0]
    border = np.ones((32, 32), bool)
    border[2:30, 2:30] = False
    assert (images[:, border] == black).all()
    zeros = small_files()[1]["train"][0] == 0
    assert zeros.any()
    assert (images[:, 2:30, 2:30, 0][zeros] == black).all()


# Missing files


def test_missing_files_are_all_named_with_the_remedy(folder):
    for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
        (folder / f"{name}.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        mnist(folder)
    message = str(caught.value)
    assert f"{folder} lacks train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz:" in message
    assert "train-images" not in message
    assert "download=True" in message


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        mnist(tmp_path / "nowhere")
    assert all(name in str(caught.value) for name in FILES)
    assert not (tmp_path / "nowhere").exists()


# Damaged files

GOOD = small_files()[0]
IMAGES, LABELS = NAMES["train"]
FAULTS = [
    (IMAGES, b"", "expected an idx file, found only 0 bytes"),
    (IMAGES, GOOD[IMAGES][:10], "expected an idx file, found only 10 bytes"),
    (IMAGES, GOOD[LABELS], r"magic number 2051\), found 2049"),
    (LABELS, GOOD[IMAGES], r"magic number 2049\), found 2051"),
    (IMAGES, b"<html>" + bytes(100), "magic number 2051"),
    (IMAGES, GOOD[IMAGES][:-1], "expected 23520 bytes of data, found only 23519"),
    (LABELS, GOOD[LABELS][:-3], "expected 30 bytes of data, found only 27"),
    (IMAGES, GOOD[IMAGES] + b"\0", "expected 23520 bytes of data, found more"),
    (LABELS, GOOD[LABELS] + bytes(9), "expected 30 bytes of data, found more"),
    (IMAGES, struct.pack(">IIII", 2051, 30, 28, 27) + bytes(30 * 28 * 27), r"shape \(28, 27\)"),
    (IMAGES, struct.pack(">IIII", 2051, 0, 28, 28), "found 0 of shape"),
    (IMAGES, struct.pack(">IIII", 2051, 2**32 - 1, 28, 28), "found 4294967295 of shape"),
    (LABELS, labels_file(np.zeros(29, np.uint8)), "holds 30 images, but .* 29 labels"),
    (LABELS, labels_file(np.full(30, 10, np.uint8)), "label 10, expected 0..9"),
    (IMAGES, images_file(np.zeros((30, 28, 28), np.uint8)), "all pixels .* are equal"),
]


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize(("name", "content", "match"), FAULTS)
def test_damaged_content(tmp_path, name, content, match, gzipped):
    write(tmp_path, {**GOOD, name: content}, gzipped)
    with pytest.raises(FileFormatError, match=match):
        mnist(tmp_path)


@pytest.mark.parametrize("fault", ["not gzip", "cut", "flipped", "sum", "empty"])
def test_damaged_gzip(folder, fault):
    path = folder / "train-images-idx3-ubyte.gz"
    packed = bytearray(path.read_bytes())
    if fault == "not gzip":
        packed = GOOD["train-images-idx3-ubyte"]
    elif fault == "cut":
        packed = packed[:-2000]
    elif fault == "flipped":
        packed[len(packed) // 2] ^= 0xFF
    elif fault == "sum":
        packed[-8] ^= 1  # the checksum of the unpacked bytes
    else:
        packed = b""
    path.write_bytes(packed)
    with pytest.raises(FileFormatError, match=r"train-images-idx3-ubyte\.gz: .*(gzip|0 bytes)"):
        mnist(folder)


# Fetching


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder that a local server offers as the mirror, with the small files in it."""
    offered = tmp_path / "mirror"
    write(offered, GOOD)
    handler = functools.partial(QuietHandler, directory=str(offered))
    monkeypatch.setenv("no_proxy", "*")
    for name, content in GOOD.items():
        monkeypatch.setitem(FILES, name, hashlib.sha256(content).hexdigest())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr(source, "MIRROR", f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield offered
        server.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def same_parts(one, other):
    return all(
        np.array_equal(a, b)
        for first, second in zip(one, other, strict=True)
        for a, b in zip(first.arrays, second.arrays, strict=True)
    )


def test_download(mirror, folder, tmp_path, capsys):
    target = tmp_path / "new" / "mnist"
    assert same_parts(mnist(target, download=True), mnist(folder))
    assert sorted(path.name for path in target.iterdir()) == sorted(f"{n}.gz" for n in FILES)
    bar = capsys.readouterr().err
    assert all(name in bar for name in FILES)


def test_download_fetches_only_what_is_missing(mirror, folder):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    for path in mirror.iterdir():
        if path.name != "t10k-labels-idx1-ubyte.gz":
            path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    expected = small_files()[1]["test"][1]
    np.testing.assert_array_equal(mnist(folder, download=True)[1].arrays[1], expected)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_download_from_a_folder(mirror, monkeypatch, tmp_path):
    monkeypatch.setattr(source, "MIRROR", mirror.as_uri() + "/")
    assert len(mnist(tmp_path / "new", download=True)[0]) == 30


@pytest.mark.parametrize("fault", ["changed", "cut", "not gzip", "empty"])
def test_a_wrong_download_is_not_kept(mirror, tmp_path, fault):
    path = mirror / "train-labels-idx1-ubyte.gz"
    packed = path.read_bytes()
    path.write_bytes(
        {
            "changed": gzip.compress(labels_file(np.zeros(30, np.uint8))),
            "cut": packed[:-12],
            "not gzip": b"<html>sorry</html>",
            "empty": b"",
        }[fault]
    )
    target = tmp_path / "new"
    with pytest.raises(FileFormatError, match=r"train-labels-idx1-ubyte\.gz unpacked has SHA-256"):
        mnist(target, download=True)
    assert [file.name for file in target.iterdir()] == ["train-images-idx3-ubyte.gz"]


def test_a_mirror_without_the_file(mirror, tmp_path):
    (mirror / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(OSError, match=r"could not download http.*train-images.*404"):
        mnist(tmp_path / "new", download=True)
    assert not (tmp_path / "new").exists()


def test_no_mirror(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MIRROR", (tmp_path / "gone").as_uri() + "/")
    with pytest.raises(OSError, match="mnist: could not download file:"):
        mnist(tmp_path / "new", download=True)
