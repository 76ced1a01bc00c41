"""Rows to write to HDF5 files, and writers that fail."""

import numpy as np
import pytest

from minidl.data.hdf5_writer import HDF5Writer

SHAPE = (6, 5, 3)


def rows_of(count, seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape)).astype(np.uint8)
    return images, rng.integers(0, 3, count)


def write(path, images, labels, at_a_time=None, **options):
    with HDF5Writer(path, images.shape[1:], images.dtype.name, **options) as writer:
        for start in range(0, len(images), at_a_time or len(images)):
            stop = start + (at_a_time or len(images))
            writer.add(images[start:stop], labels[start:stop])


def interrupted(path, images, labels, skip=(), **options):
    """The note of an exception that ends the writing."""
    with pytest.raises(ZeroDivisionError) as found:
        begin_and_fail(path, images, labels, skip, **options)
    return " ".join(found.value.__notes__)


def begin_and_fail(path, images, labels, skip, **options):
    with HDF5Writer(path, images.shape[1:], **options) as writer:
        writer.add(images, labels)
        for name in skip:
            writer.skip(name, "broken")
        _ = 1 / 0


def names(folder):
    return sorted(path.name for path in folder.iterdir())
