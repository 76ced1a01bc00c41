"""Neural style in one pass: it learns, it paints pictures of any size, it can be saved."""

import numpy as np
import pytest
from small_bodies import body, photo

import minidl as md
from minidl.apps import fast_style
from minidl.errors import MinidlError
from minidl.models.sources import CAFFE

SHORT = {
    "content_layers": ["second"], "style_layers": ["first", "second"],
    "size": 16, "batch_size": 2, "steps": 25,
}  # fmt: skip


def test_it_learns_and_paints_pictures_of_any_size(tmp_path):
    photos = np.stack([photo(20, 24, seed) for seed in range(3)])
    told = []
    network = fast_style.train(photo(30, 30, 7)[::-1], photos, body(CAFFE), on_step=told.append,
                               **SHORT)  # fmt: skip
    values = [step.value for step in told]
    assert np.mean(values[-5:]) < 0.7 * values[0]
    assert told[-1].picture().shape == (16, 16, 3)
    md.save_weights(network, tmp_path / "w.h5")
    again = fast_style.TransformNet()
    md.load_weights(again, tmp_path / "w.h5")
    for shape in ((16, 20), (13, 31)):
        painted = fast_style.apply(network, photo(*shape))
        assert painted.shape == (*shape, 3)
        np.testing.assert_array_equal(fast_style.apply(again, photo(*shape)), painted)
    assert fast_style.apply(network, photo(), size=24).shape == (20, 24, 3)


def test_what_it_refuses(tmp_path):
    network = fast_style.TransformNet(4, 1)
    with pytest.raises(MinidlError, match="at least 12x12 pixels, got 8x9: enlarge it"):
        fast_style.apply(network, photo(8, 9))
    photos = np.stack([photo(20, 24)])
    for arguments, match in (
        ({"size": 18}, "size= must be a multiple of 4, got 18"),
        ({"photos": tmp_path}, "there are no images in photos="),
        ({"photos": photos / 255}, "of uint8, got float64"),
        ({"weights": None}, "weights= is missing"),
    ):
        given = {"style": photo(), "photos": photos, "weights": body(), **SHORT} | arguments
        with pytest.raises(MinidlError, match=match):
            fast_style.train(**given)


def test_a_style_narrower_than_the_network_takes():
    photos = np.stack([photo(20, 24, seed) for seed in range(2)])
    narrow = photo(2, 80, 7)
    fast_style.train(narrow, photos, body(CAFFE), **{**SHORT, "steps": 1})


def test_a_size_below_what_the_network_takes(monkeypatch):
    made = fast_style.StyleLosses
    monkeypatch.setattr(made, "smallest", property(lambda self: 17, lambda self, to: None), False)
    photos = np.stack([photo(20, 24, 0)])
    with pytest.raises(MinidlError, match=r"at least 17x17 .*: a size= of 20 would do, got 16"):
        fast_style.train(photo(30, 30, 7), photos, body(CAFFE), **SHORT)
