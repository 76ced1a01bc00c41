"""DeepDream: its objective grows, detail comes back, tiles and channels are what they say."""

import numpy as np
import pytest
from small_bodies import body, photo

import minidl as md
from minidl import models
from minidl.apps import dream as module
from minidl.apps.dream import dream
from minidl.errors import ArgumentError, DTypeError, MinidlError
from minidl.models.sources import CAFFE

SHORT = {"layers": ["second", "third"], "octaves": 2, "steps": 5, "jitter": 2}


def detail(x):
    """What a Laplacian leaves of the brightness."""
    grey = x.astype(float).mean(axis=2)
    return (4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2]
            - grey[1:-1, 2:])  # fmt: skip


def test_the_objective_grows_in_every_octave_and_a_seed_gives_the_same_bits():
    strong = SHORT | {"step_size": 0.03}
    found = dream(photo(), body(), **strong)
    assert found.picture.shape == (40, 48, 3)
    assert [len(each) for each in found.objectives] == [5, 5]
    assert all(each[-1] > 1.1 * each[0] for each in found.objectives)
    again, other = (dream(photo(), body(), seed=seed, **strong) for seed in (0, 1))
    np.testing.assert_array_equal(again.picture, found.picture)
    assert (other.picture != found.picture).any()
    assert found.settings["layers"] == {"second": 1.0, "third": 1.0}


def test_detail_comes_back():
    """By the photo's own Laplacian: more than four times as much of it as without."""
    calm = SHORT | {"step_size": 1e-6, "octave_scale": 2.0}
    kept, lost = (detail(dream(photo(), body(), reinject=r, **calm).picture) for r in (True, False))
    wanted = detail(photo())
    share = [float((each * wanted).sum() / (wanted * wanted).sum()) for each in (kept, lost)]
    assert share[0] == pytest.approx(1, abs=0.02)
    assert share[1] < 0.25


def test_a_step_goes_along_the_gradient_of_the_mean_squares():
    """By finite differences, with two layers that weigh differently."""
    network = body(CAFFE)  # BGR, 0 to 255
    known = module.Body("test", network)
    objective = module._OfLayers(known, {"second": 1.0, "third": 0.5}, None, None)
    x = known.enter(photo(16, 20) / np.float32(255))
    np.testing.assert_allclose(known.leave(x) * 255, photo(16, 20), atol=1e-4)
    start = objective(md.tensor(x)).item()
    assert start == pytest.approx(1.5)  # each relative to the photo's own
    ascent = module._Ascent(known, objective, 0, 64, 1e-3)
    moved = x.copy()
    assert ascent.step(moved) == pytest.approx(start)
    change = (moved - x)[0]
    assert abs(change).mean() == pytest.approx(1e-3, rel=0.01)
    _, gradient = ascent._gradient(x)
    for place in ((8, 9, 0), (3, 15, 2)):
        ends = []
        for step in (0.01, -0.01):
            near = x.copy()
            near[(0, *place)] += step
            ends.append(objective(md.tensor(near)).item())
        assert gradient[(0, *place)] == pytest.approx((ends[0] - ends[1]) / 0.02, rel=0.05)


def test_tiles_cover_the_picture():
    """Away from seams, the gradient of a picture in tiles is that of the whole."""
    known = module.Body("test", body())
    x = known.enter(photo(32, 64) / np.float32(255))
    parts = []
    for tile in (64, 32):
        objective = module._OfLayers(known, {"first": 1.0}, 2, None)
        objective.scales = [1.0]
        parts.append(module._Ascent(known, objective, 0, tile, 0.01)._gradient(x)[1])
    np.testing.assert_allclose(parts[1][:, :, 8:24], parts[0][:, :, 8:24], rtol=1e-4, atol=1e-9)
    assert (parts[1][:, :, 40:] != 0).any()
    found = dream(photo(40, 70), body(), **SHORT | {"tile": 24})
    assert all(each[-1] > each[0] for each in found.objectives)


def test_a_channel_a_guide_and_a_class():
    known = module.Body("test", body())
    x = md.tensor(known.enter(photo(16, 20) / np.float32(255)))
    network = known.network
    maps = network.second(network.first(known.prepared(x))).data
    objective = module._OfLayers(known, {"second": 1.0}, 4, None)
    assert objective._part(0, md.tensor(maps)).item() == pytest.approx(maps[..., 4].mean())
    guide = photo(40, 48, seed=5)
    objective = module._OfLayers(known, {"second": 1.0}, None, guide)
    rows, wanted = maps.reshape(-1, 8), objective.wanted[0]
    best = (rows @ wanted.T).max(axis=1).mean() / 8  # the mean is over 8 channels too
    assert objective._part(0, md.tensor(maps)).item() == pytest.approx(best, rel=1e-5)
    guided = dream(photo(), body(), guide=guide, **SHORT)
    assert all(each[-1] > each[0] for each in guided.objectives)

    md.manual_seed(0)
    classifier = models.create("squeezenet1_1", num_classes=3, score_activation=None)
    classifier.image_format, classifier.classes = CAFFE, ["ant", "bee", "cat"]
    found = dream(photo(), classifier, target="bee", octaves=1, steps=3, jitter=0)
    assert found.objectives[0][-1] > found.objectives[0][0]
    with pytest.raises(ArgumentError, match="names no class 'dog': give its number"):
        dream(photo(), classifier, target="dog", octaves=1)


def test_grey_networks_and_pictures():
    network = models.create("lenet5", weights="mnist")
    grey = photo(48, 48)[..., 0]
    found = dream(grey, network, octaves=2, steps=3, jitter=1)
    assert (found.picture[..., 0] == found.picture[..., 2]).all()
    assert found.objectives[0][-1] > found.objectives[0][0]
    with_alpha = np.dstack([photo(), np.full((40, 48), 7, np.uint8)])
    pictures = [dream(x, body(), **SHORT).picture for x in (with_alpha, photo())]
    np.testing.assert_array_equal(*pictures)


def test_steps_are_told_with_the_picture_so_far():
    told = []
    dream(photo(), body(), on_step=told.append, **SHORT)
    assert [step.number for step in told] == list(range(1, 11))
    assert {step.total for step in told} == {10}
    assert told[0].stage == "octave 1 of 2"
    early = told[0].picture()
    assert early.shape == (40, 48, 3)
    assert abs(early.astype(int) - photo()).mean() < 10  # all of the photo's detail


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            {"octaves": 9},
            r"needs at least 5x5 pixels .* has 3x3: octaves= of 7 would do, or a larger",
        ),
        ({"size": 4, "octaves": 1}, r"has \d+x\d+: a size= of 7 would do"),
        ({"size": 4, "octaves": 3}, r"octaves= of 1 and a size= of 7 would do"),
        ({"layers": ["secnd"]}, "no layer 'secnd' that gives maps: did you mean second"),
        ({"layers": []}, "layers= names no layer"),
        ({"layers": {"second": "much"}}, "the weight of second must be a finite number"),
        ({"channel": 8}, "channel= must be a whole number from 0 to 7"),
        ({"channel": 1, "guide": photo()}, "give channel= or guide=, not both"),
        ({"target": 1, "layers": None}, "scores pictures of any size, and Small doesn't"),
        ({"target": 1}, "give target= or layers=, not both"),
        ({"tile": 8}, "tile= must be at least 10"),
        ({"octave_scale": 1}, "octave_scale= must be above 1"),
        ({"steps": 0}, "steps= must be a whole number from 1 up"),
        ({"size": 10**6}, r"a picture of 1000000 pixels needs .*: a size= of \d+ would do"),
    ],
)
def test_what_it_refuses(arguments, match):
    with pytest.raises(ArgumentError, match=match):
        dream(photo(), body(), **SHORT | arguments)


def test_networks_and_pictures_that_it_refuses():
    with pytest.raises(ArgumentError, match=r"weights= is missing: .*keras\.applications"):
        dream(photo())
    with pytest.raises(ArgumentError, match=r"set model\.image_format"):
        dream(photo(), body(None))
    for picture, match in (
        (photo().astype(float), "photo= must be of uint8, got float64"),
        (photo()[None], r"photo= must be a picture, got shape \(1, 40, 48, 3\)"),
        (None, "photo= must be a picture, got NoneType"),
    ):
        with pytest.raises(MinidlError, match=match):
            dream(picture, body())
    with pytest.raises(DTypeError, match="weights= must be a path or a model"):
        dream(photo(), 3)
