"""Reading HDF5 files by rows: what comes, in what order, and what damage is found."""

import itertools
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import DataLoader
from minidl.data.hdf5_dataset import HDF5Dataset
from minidl.data.hdf5_writer import BLOCK, HDF5Writer
from minidl.errors import ArgumentError, FileFormatError, ShapeError, StateError

SHAPE = (64, 64, 3)  # 85 rows a block
PER_BLOCK = BLOCK // (64 * 64 * 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file of 900 rows in eleven blocks, its images and its labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (900, *SHAPE)).astype(np.uint8)
    labels = rng.integers(0, 3, 900)
    path = tmp_path_factory.mktemp("rows") / "a.h5"
    with HDF5Writer(path, SHAPE, classes=["a", "b", "c"], source="s") as writer:
        writer.add(images, labels)
    return path, images, labels


def counting(data):
    """How often each block is read from now on."""
    counts, read = Counter(), data._read

    def counted(number):
        counts[number] += 1
        return read(number)

    data._read = counted
    return counts


def test_what_is_in_it(made):
    path, images, labels = made
    with HDF5Dataset(path) as data:
        assert len(data) == 900
        assert data.shape == SHAPE
        assert data.dtype == np.uint8
        assert data.classes == ["a", "b", "c"]
        assert data.source == "s"
        np.testing.assert_array_equal(data.labels, labels)
        assert data.labels.dtype == np.int64
        flat = images.reshape(-1, 3).astype(np.float64)
        np.testing.assert_allclose(data.mean, flat.mean(axis=0))
        np.testing.assert_allclose(data.std, flat.std(axis=0))
        for i in (0, 84, 85, 899, -1, -900):
            image, label = data[i]
            np.testing.assert_array_equal(image, images[i])
            assert label == labels[i]
        image[...] = 0  # a copy
        np.testing.assert_array_equal(data[-900][0], images[0])


@given(st.lists(st.integers(-900, 899), min_size=1, max_size=40), st.sampled_from([0, 2**21]))
def test_batches(made, indices, cache):
    path, images, labels = made
    with HDF5Dataset(path, SHAPE, cache=cache) as data:
        found = data.batch(indices)
        np.testing.assert_array_equal(found[0], images[indices])
        np.testing.assert_array_equal(found[1], labels[indices])


def test_features_and_labels_without_names(tmp_path):
    features = np.random.default_rng(0).standard_normal((40, 7)).astype(np.float32)
    features[3, 2] = np.nan
    with HDF5Writer(tmp_path / "f.h5", (7,), "float32") as writer:
        writer.add(features, np.arange(40))
    with HDF5Dataset(tmp_path / "f.h5") as data:
        assert data.classes is None
        assert data.batch([5])[0].dtype == np.float32
        np.testing.assert_array_equal(data.batch(np.arange(40))[0], features)
        np.testing.assert_allclose(
            np.delete(data.mean, 2), np.delete(features, 2, 1).mean(axis=0), rtol=1e-5
        )


@pytest.mark.parametrize("workers", [0, 2])
def test_in_a_loader(made, workers):
    path, images, labels = made
    with HDF5Dataset(path) as data:
        found = list(DataLoader(data, 100, workers=workers))
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in found]), images)
    np.testing.assert_array_equal(np.concatenate([batch[1] for batch in found]), labels)


# Order and cache


@pytest.mark.parametrize("blocks", [1, 3, 11, 100])
def test_an_epoch_reads_each_block_once(made, blocks):
    path, images, _ = made
    with HDF5Dataset(path, cache=blocks * PER_BLOCK * 64 * 64 * 3) as data:
        order = data.order(np.random.default_rng(3))
        assert sorted(order) == list(range(900))
        counts = counting(data)
        for start in range(0, 900, 32):
            rows = order[start : start + 32]
            np.testing.assert_array_equal(data.batch(rows)[0], images[rows])
        assert counts == Counter(range(11))
        assert len(data._kept) == min(blocks, 11)
        # Neighbours in the order are of different blocks, where more than one is at hand.
        near = np.mean(np.diff(order // PER_BLOCK) == 0)
        assert near < {1: 1, 3: 0.5}.get(blocks, 0.2)
        other = data.order(np.random.default_rng(4))
        assert other.tolist() != order.tolist()
        again = data.order(np.random.default_rng(3))
        assert again.tolist() == order.tolist()


def test_a_full_shuffle_where_all_fits(made):
    with HDF5Dataset(made[0]) as data:
        first = data.order(np.random.default_rng(0))[:300]
    assert abs(np.mean(first) - 449.5) < 60
    assert len(set(first // PER_BLOCK)) == 11


def test_threads_and_datasets_share_a_file(made):
    path, images, labels = made
    sets = [HDF5Dataset(path, cache=3 * 2**20) for _ in range(2)]
    rng = np.random.default_rng(0)
    asked = [(data, rng.integers(0, 900, 20)) for data, _ in itertools.product(sets, range(60))]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda ask: ask[0].batch(ask[1]), asked))
    for (_, indices), (rows, of) in zip(asked, found, strict=True):
        np.testing.assert_array_equal(rows, images[indices])
        np.testing.assert_array_equal(of, labels[indices])
    for data in sets:
        data.close()


def test_threads_that_want_one_block_read_it_once(made):
    with HDF5Dataset(made[0]) as data:
        counts = counting(data)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(data.batch, [[i] for i in range(85)]))
    assert counts == {0: 1}


# What is refused


@pytest.mark.parametrize("at", [0, 500_000, 2**20, 900 * 64 * 64 * 3 - 1])
def test_a_flipped_bit_is_found_where_it_is_read(made, tmp_path, at):
    path, images, _ = made
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        content[file["images"].id.get_offset() + at] ^= 1
    (tmp_path / "a.h5").write_bytes(content)
    bad = at // (PER_BLOCK * 64 * 64 * 3)
    with HDF5Dataset(tmp_path / "a.h5") as data:
        for block in range(11):
            row = block * PER_BLOCK
            if block == bad:
                with pytest.raises(
                    FileFormatError, match=rf"a\.h5: block {bad} of its images .*CRC"
                ):
                    data.batch([row])
            else:
                np.testing.assert_array_equal(data.batch([row])[0], images[[row]])


@pytest.mark.parametrize("name", ["labels", "checksums", "mean", "std"])
def test_a_flipped_bit_elsewhere_is_found_at_once(made, tmp_path, name):
    content = bytearray(made[0].read_bytes())
    with h5py.File(made[0]) as file:
        content[file[name].id.get_offset() + 1] ^= 4
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(FileFormatError, match=f"dataset '{name}' is damaged"):
        HDF5Dataset(tmp_path / "a.h5")


def test_a_file_cut_off(made, tmp_path):
    content = made[0].read_bytes()
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    with HDF5Dataset(path, cache=0) as data:
        os.truncate(path, len(content) // 2)  # under way
        with pytest.raises(FileFormatError, match="is cut off"):
            data.batch(np.arange(900))
    with pytest.raises(FileFormatError, match="the file is damaged, cut off"):
        HDF5Dataset(path)


def test_other_files(tmp_path):
    import minidl as md
    from minidl import nn

    md.save_weights(nn.Linear(2, 3), tmp_path / "w.h5")
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["images"] = np.zeros((3, 2))
    (tmp_path / "text.h5").write_text("images")
    (tmp_path / "empty.h5").touch()
    for name in ("w.h5", "plain.h5", "text.h5", "empty.h5", "."):
        with pytest.raises(FileFormatError, match="`minidl build` writes files of images"):
            HDF5Dataset(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        HDF5Dataset(tmp_path / "none.h5")


def test_another_shape(made):
    with pytest.raises(ShapeError, match=r"expected rows of shape \(32, 32, 3\), found \(64, 64"):
        HDF5Dataset(made[0], shape=(32, 32, 3))


def test_bad_arguments(made):
    for cache in (-1, 1.5, True):
        with pytest.raises(ArgumentError, match="cache must be"):
            HDF5Dataset(made[0], cache=cache)
    with HDF5Dataset(made[0]) as data:
        for indices in ([900], [-901]):
            with pytest.raises(IndexError, match="has rows 0 to 899"):
                data.batch(indices)
        for indices in ([], [0.5], [[1]]):
            with pytest.raises(ArgumentError, match="expected whole numbers"):
                data.batch(indices)
    with pytest.raises(StateError, match="is closed"):
        data.batch([0])


HOSTILE = {
    "fewer labels": {"labels": np.zeros(3, np.int64)},
    "labels of another type": {"labels": np.zeros(4, np.int32)},
    "labels out of range": {"labels": np.full(4, 2)},
    "labels below 0": {"labels": np.full(4, -1)},
    "more checksums": {"checksums": np.zeros(3, np.uint32)},
    "means of another shape": {"mean": np.zeros(2)},
    "doubles": {"images": np.zeros((4, 2, 3))},
    "no axes of rows": {"images": np.zeros(4, np.uint8)},
    "no block": {"block_rows": 0},
    "half a block": {"block_rows": 0.5},
    "a block of no number": {"block_rows": "many"},
    "fewer names": {"names": np.frombuffer(b"a\0b\0c\0", np.uint8)},
    "names that don't end": {"names": np.frombuffer(b"a\0b\0c\0d\0e", np.uint8)},
    "names of another type": {"names": np.zeros(4, np.int32)},
    "classes of no text": {"classes": "[1, 2]"},
    "classes of no list": {"classes": "{}"},
    "classes that can't be read": {"classes": "["},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_sealed_files_that_make_no_sense(tmp_path, change):
    from minidl.io.compose import Content
    from minidl.io.sealed import write_sealed

    arrays = {
        "images": np.zeros((4, 2, 3), np.uint8), "labels": np.zeros(4, np.int64),
        "checksums": np.zeros(1, np.uint32), "mean": np.zeros(3), "std": np.zeros(3),
    }  # fmt: skip

    def make(change):
        content = Content({name: change.get(name, array) for name, array in arrays.items()})
        if "names" in change:
            content.arrays["names"] = change["names"]
        content.add("images", block_rows=change.get("block_rows", 5))
        content.add("", classes=change.get("classes", '["a", "b"]'), source="")
        write_sealed(tmp_path / "a.h5", content, ("minidl data", 1))

    make({})
    assert len(HDF5Dataset(tmp_path / "a.h5")) == 4
    make(change)
    with pytest.raises(FileFormatError, match=r"don't fit together|can't be read"):
        HDF5Dataset(tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["images", "labels", "mean"])
def test_sealed_files_that_lack_something(tmp_path, name):
    from minidl.io.compose import Content
    from minidl.io.sealed import write_sealed

    content = Content({"other": np.zeros(3)})
    for each in ("images", "labels", "checksums", "mean", "std"):
        if each != name:
            content.arrays[each] = np.zeros((4, 3), np.uint8)
    write_sealed(tmp_path / "a.h5", content, ("minidl data", 1))
    with pytest.raises(FileFormatError, match=f"expected a dataset '{name}' of plain numbers"):
        HDF5Dataset(tmp_path / "a.h5")
