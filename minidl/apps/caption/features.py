"""What a captioner's body sees in images: computed once, and kept in a file."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minidl.apps.caption.networks import Captioner
from minidl.data import HDF5Dataset, HDF5Writer, read_image
from minidl.distributed.world import world
from minidl.errors import ArgumentError, FileFormatError
from minidl.train.turns import in_turn, joined, own_batches, shown

__all__ = ["check_images", "fingerprint", "kept_features", "look_at"]

AT_A_TIME = 32  # images


def fingerprint(captioner: Captioner, files: Sequence[Path], mirrored: Sequence[int]) -> str:
    """Return a SHA-256 of all that features depend on: the body, and the bytes of the images.

    mirrored: numbers of the images that are also looked at as in a mirror.
    """
    made = captioner.architecture[1]
    about = [made["body"], made["arguments"], captioner.image_format, captioner.decoder.takes_maps]
    about += mirrored
    found = hashlib.sha256(repr(about).encode())
    for name, array in captioner.features.state_dict().items():
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    for file in files:
        with open(file, "rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()


def kept_features(path: str | os.PathLike[str], source: str) -> np.ndarray | None:
    """Return the features in a file, or None where they aren't those of `source`."""
    if not os.path.exists(path):
        return None
    try:
        with HDF5Dataset(path) as kept:
            return kept.batch(range(len(kept)))[0] if kept.source == source else None
    except FileFormatError:  # what is damaged is computed anew
        return None


def check_images(files: Sequence[Path], progress: bool) -> None:
    """Raise FileFormatError where images can't be read, before time is spent on the others."""
    from tqdm import tqdm

    told: list[str] = []  # "" of one that can be read
    mine = list(own_batches(files))
    for file in tqdm(mine, "reading", leave=False, disable=shown(progress)):
        try:
            read_image(file)
        except FileFormatError as error:
            told.append(str(error))
        else:
            told.append("")
    if bad := [text for text in in_turn(told) if text]:
        raise FileFormatError(
            f"{len(bad):,} of {len(files):,} images can't be read, such as {bad[0]}"
        )


def look_at(
    captioner: Captioner,
    files: Sequence[Path],
    mirrored: Sequence[int],
    path: Path,
    source: str,
    progress: bool,
) -> np.ndarray:
    """Return the features of images, and keep them in a file as those of `source`.

    They are (N, D) or maps (N, h, w, D), first of all images, then of those with the numbers
    `mirrored`, as in a mirror. The ranks of an MPI run take turns, and rank 0 writes.
    Raises ArgumentError where they are NaN or infinite.
    """
    from tqdm import tqdm

    wanted = [(file, False) for file in files] + [(files[i], True) for i in mirrored]
    rows = range(0, len(wanted), AT_A_TIME)
    batches: list[np.ndarray] = []
    mine = list(own_batches(rows))
    for start in tqdm(mine, "looking", leave=False, disable=shown(progress)):
        pictures = []
        for file, mirror in wanted[start : start + AT_A_TIME]:
            picture = captioner.photograph(file)
            pictures.append(picture[:, ::-1] if mirror else picture)
        batches.append(captioner.look(np.stack(pictures)).astype(np.float32, copy=False))
    features = joined(batches)
    assert features is not None  # there are ten images or more
    if not np.isfinite(features).all():
        raise ArgumentError(
            "train_captioner: the body's features are NaN or infinite: are its weights damaged?"
        )
    if world().rank > 0:
        return features
    with HDF5Writer(path, features.shape[1:], "float32", overwrite=True, source=source) as writer:
        for start in rows:
            part = features[start : start + AT_A_TIME]
            writer.add(part, np.arange(start, start + len(part)))
    return features
