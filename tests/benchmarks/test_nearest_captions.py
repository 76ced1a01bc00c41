"""benchmarks.captions: of two kinds of images, the nearest ones' captions are right."""

import numpy as np
from PIL import Image

from benchmarks import captions
from minidl.data import HDF5Writer

SAID = ("a red cat sits on a wall", "one blue dog runs through the snow")


def test_the_nearest_say_what_the_image_has(tmp_path, capsys):
    random, lines = np.random.default_rng(0), ["image,caption"]
    kinds = np.arange(20) % 2
    for i, kind in enumerate(kinds):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{i:02}.png")
        lines += [f"{i:02}.png,{SAID[kind]}", f"{i:02}.png,{SAID[kind]} today"]
    (tmp_path / "said.csv").write_text("\n".join(lines) + "\n")
    features = np.eye(2)[kinds][:, None, None] + 0.1 * random.standard_normal((20, 2, 2, 2))
    with HDF5Writer(tmp_path / "features.h5", (2, 2, 2), "float32") as writer:
        writer.add(features.astype(np.float32), kinds)
    arguments = [str(tmp_path / "said.csv"), "--images", str(tmp_path)]
    assert captions.main([*arguments, "--features", str(tmp_path / "features.h5")]) == 0
    heads, one, five, twenty = capsys.readouterr().out.splitlines()
    assert heads.split() == ["nearest", "BLEU-1", "BLEU-4", "CIDEr-D", "different"]
    assert one.split()[:3] == ["1", "100.0", "100.0"]
    assert five.split()[:3] == ["5", "100.0", "100.0"]
    assert twenty.split()[0] == "20"  # more than there are of a kind


def test_the_most_like_the_others_is_said():
    words = [[["a", "dog", "runs"], ["snow"]], [["a", "dog", "sits"], ["a", "dog", "runs", "now"]]]
    assert captions.said_of([0, 1], words) == ["a", "dog", "runs"]
