"""Points in pictures: measures by hand, moves seen in pixels, heads, training."""

import json

import numpy as np
import pytest

import minidl as md
from minidl import models
from minidl.apps.landmarks import (
    MIRROR,
    LandmarkNetwork,
    PointSet,
    cumulative_errors,
    find_points,
    load_landmarks,
    measure_points,
    nme,
    plot_errors,
    read_points,
    rmse,
    train_landmarks,
)  # fmt: skip
from minidl.apps.landmarks.networks import DirectHead, HeatmapHead
from minidl.apps.landmarks.sets import moved
from minidl.errors import (
    ArgumentError,
    FileFormatError,
    GradError,
    ShapeError,
    StateError,
)  # fmt: skip
from minidl.nn.calling import gradcheck

RNG = np.random.default_rng(0)
SIZE = 32


def spots(count, size=SIZE, seed=0):
    """Grey pictures with a white spot, and below it a dark one; their centres are the points."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] + 0.5
    first = rng.uniform(8, size - 16, (count, 2))
    points = np.stack([first, first + np.array([3, 8])], axis=1)
    images = np.full((count, size, size, 3), 128.0)
    for i in range(count):
        for (u, v), by in zip(points[i], (127, -127), strict=True):
            images[i] += by * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8)[..., None]
    return PointSet(images.clip(0, 255).astype(np.uint8), points)


def true_points(shared_data):
    """Of the faces to train on, (1500, 68, 2), in pixels of 96."""
    return np.load(shared_data / "face_landmarks68/train_keypoints.npy")


# Measures


def test_measures_by_hand():
    truth = np.zeros((2, 3, 2))
    truth[:, 1, 0] = (2, 5)  # how far points 0 and 1 are apart
    found = truth + np.array([[[3, 4]], [[0, 1]]])  # 5 and 1 off
    np.testing.assert_allclose(nme(found, truth, (0, 1)), [2.5, 0.2])
    assert rmse(found, truth) == pytest.approx(((9 + 16 + 0 + 1) / 4) ** 0.5)
    errors = measure_points(found, truth, (0, 1), limit=0.5)
    assert (errors.nme, errors.failures) == (pytest.approx(1.35), 0.5)
    assert errors.area == pytest.approx((0 + 0.3) / 2 / 0.5)


def test_the_area_is_that_below_the_curve():
    each = RNG.gamma(3, 0.02, 200)
    truth = np.zeros((200, 2, 2))
    truth[:, 1, 0] = 1
    found = truth + np.stack([each, np.zeros(200)], axis=1)[:, None]
    errors = measure_points(found, truth, (0, 1), limit=0.1)
    at = np.linspace(0, 0.1, 20_001)
    curve = np.array([(each <= a).mean() for a in at])
    assert errors.area == pytest.approx(np.trapezoid(curve, at) / 0.1, abs=1e-3)
    np.testing.assert_allclose(cumulative_errors(each, at[::100]), curve[::100])


def test_the_mean_shape(shared_data):
    """The figures that the data's README gives."""
    test = read_points(shared_data / "face_landmarks68", "test")
    assert len(test) == 300
    found = np.broadcast_to(true_points(shared_data).mean(axis=0), test.points.shape)
    errors = measure_points(found, test.points)
    assert (round(errors.rmse, 2), round(errors.nme, 3)) == (6.49, 0.2)


def test_measures_refuse():
    points = np.ones((1, 3, 2))
    with pytest.raises(
        ShapeError, match=r"rmse expected two arrays .* \(1, 3, 2\) and \(1, 2, 2\)"
    ):
        rmse(points, points[:, :2])
    with pytest.raises(ArgumentError, match="points 0 and 1 of face 0 lie in one place"):
        nme(points, points, (0, 1))
    for eyes in ((0, 3), (1, 1), (0,), "01"):
        with pytest.raises(ArgumentError, match="eyes must be two numbers of points, from 0 to 2"):
            nme(points, points, eyes)
    found = points * (1, np.nan)
    for measured in (rmse, nme, measure_points):
        with pytest.raises(ArgumentError, match="all coordinates must be finite"):
            measured(found, points)
    with pytest.raises(ShapeError, match="expected the errors of faces"):
        cumulative_errors(np.zeros(0), np.array([0.1]))


def test_the_curve_is_drawn():
    figure = plot_errors({"a": np.array([0.05, 0.1])})
    (line,) = figure.axes[0].lines
    assert line.get_ydata()[[0, -1]].tolist() == [0, 100]


# Moves


def test_the_mirror_of_68_points(shared_data):
    """It is its own inverse, and the mirrored mean shape of faces is that shape."""
    assert (MIRROR[MIRROR] == np.arange(68)).all()
    shape = true_points(shared_data).mean(axis=0)
    np.testing.assert_allclose((shape * (-1, 1) + (96, 0))[MIRROR], shape, atol=4)
    assert MIRROR[[0, 8, 36, 48, 60, 17]].tolist() == [16, 8, 45, 54, 64, 26]


@pytest.mark.parametrize("mirror", [None, np.array([0, 1])])
def test_points_stay_on_what_they_mark(mirror):
    faces = spots(12)
    images, points = moved(
        faces.images.astype(np.float32), faces.points, np.random.default_rng(1),
        degrees=20, scale=(0.9, 1.2), shift=0.1, mirror=mirror,
    )  # fmt: skip
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    for image, (white, dark) in zip(images[..., 0], points, strict=True):
        for sign, point in ((1, white), (-1, dark)):
            weights = (sign * (image - 128)).clip(20) - 20
            centre = [(axis * weights).sum() / weights.sum() for axis in (x, y)]
            np.testing.assert_allclose(centre, point, atol=0.7)


def test_mirrors_swap_points():
    image = np.zeros((40, 4, 6, 1), np.uint8)
    points = np.tile([[1.0, 2.0], [5.0, 3.0]], (40, 1, 1))
    settings = {"degrees": 0, "scale": (1, 1), "shift": 0}
    _, found = moved(image, points, RNG, **settings, mirror=np.array([1, 0]))
    mirrored = (found == [[1, 3], [5, 2]]).all(axis=(1, 2))
    assert 5 < mirrored.sum() < 35
    np.testing.assert_allclose(found[~mirrored], points[~mirrored])


# Networks


def test_a_heatmap_is_read_by_its_mean():
    head = HeatmapHead((8, 8, 1), 32, 2)
    head.maps.weight.data[...] = [[[[1, -1]]]]
    x = np.zeros((1, 8, 8, 1), np.float32)
    x[0, 2, 5] = 50
    first, second = head(x).data[0]
    np.testing.assert_allclose(first, [5.5 / 8, 2.5 / 8], rtol=1e-5)
    # the other map is flat but for that place
    others = np.array([(j, i) for i in range(8) for j in range(8) if (i, j) != (2, 5)]) + 0.5
    np.testing.assert_allclose(second, others.mean(axis=0) / 8, rtol=1e-4)
    assert head.heatmaps(x).data.sum(axis=(1, 2)).round(5).tolist() == [[1, 1]]


def test_a_direct_head_begins_with_the_mean_shape():
    head = DirectHead((2, 2, 3), 32, 2)
    head.start_at(np.float32([[0.1, 0.2], [0.3, 0.4]]))
    found = head(np.zeros((1, 2, 2, 3), np.float32)).data
    np.testing.assert_allclose(found, [[[0.1, 0.2], [0.3, 0.4]]], rtol=1e-6)


@pytest.mark.parametrize("head", [HeatmapHead((4, 4, 3), 16, 2), DirectHead((4, 4, 3), 16, 2)])
def test_gradients(head):
    x = RNG.standard_normal((2, 4, 4, 3))
    gradcheck(head.astype(np.float64), [md.tensor(x, requires_grad=True)])


def test_a_body_for_grey_pictures():
    grey = LandmarkNetwork(models.lenet5(), 2, size=32).eval()
    images = RNG.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    assert find_points(grey, images).shape == (2, 2, 2)
    with pytest.raises(ArgumentError, match="images of 1 or 3 channels, got 2"):
        LandmarkNetwork(models.lenet5(in_channels=2), 2, size=32)


@pytest.mark.parametrize("body", ["mobilenet_v1", "squeezenet1_1", "lenet5"])
def test_any_body(body):
    arguments = {"width": 0.25} if body == "mobilenet_v1" else {}
    if body == "lenet5":
        arguments["in_channels"] = 3
    made = models.create(body, num_classes=1, **arguments)
    for head in ("heatmap", "direct"):
        network = LandmarkNetwork(made, 5, head=head, size=64).eval()
        assert network(np.zeros((1, 64, 64, 3), np.float32)).shape == (1, 5, 2)


# Training


@pytest.fixture
def train(tmp_path):
    def run(name="run", epochs=2, **settings):
        settings = {"model": "plain_cnn", "arguments": {"m": 3, "n": 1, "k": 0}} | settings
        return train_landmarks(
            spots(40), tmp_path / name, epochs=epochs, batch_size=8, progress=False, **settings
        )

    return run


@pytest.mark.parametrize("head", ["heatmap", "direct"])
def test_it_learns(train, tmp_path, head):
    trained = train(head=head, epochs=16, lr=5e-3)
    test = spots(16, seed=9)
    found = find_points(trained.network, test.images)
    by_mean = np.broadcast_to(spots(40).points.mean(axis=0), test.points.shape)
    assert rmse(found, test.points) < 0.6 * rmse(by_mean, test.points)
    loaded = load_landmarks(tmp_path / "run/landmarks.h5")
    np.testing.assert_array_equal(find_points(loaded, test.images), found)
    assert json.loads((tmp_path / "run/history.json").read_text())["epochs"] == trained.history


def state(trained):
    return {name: a.tobytes() for name, a in trained.network.state_dict().items()}


def test_the_same_seed_gives_the_same_bits(train):
    first = state(train("a"))
    md.set_num_threads(1)
    assert state(train("b")) == first
    assert state(train("c", seed=1)) != first


class StopError(Exception):
    pass


def test_resuming_to_the_bit(train, tmp_path, monkeypatch):
    whole = train("whole", epochs=3)
    from minidl.apps.landmarks.training import Moves

    begin = Moves.on_batch_begin

    def interrupted(self, trainer, x, target):
        if trainer.epoch == 1 and trainer.progress.batch == 1:
            raise KeyboardInterrupt
        return begin(self, trainer, x, target)

    monkeypatch.setattr(Moves, "on_batch_begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train("part", epochs=3)
    assert find_points(load_landmarks(tmp_path / "part/landmarks.h5"), spots(1).images).any()
    monkeypatch.setattr(Moves, "on_batch_begin", begin)
    with pytest.raises(StateError, match="begun with epochs=3, not 4: give the same arg"):
        train("part", epochs=4, resume=True)
    other = spots(40)
    other.points[7] += 0.5
    with pytest.raises(StateError, match=r"begun with checksum="):
        train_landmarks(
            other, tmp_path / "part", model="plain_cnn", arguments={"m": 3, "n": 1, "k": 0},
            epochs=3, batch_size=8, resume=True,
        )  # fmt: skip
    with pytest.raises(StateError, match="begun with head='heatmap', not 'direct': give the same"):
        train("part", epochs=3, head="direct", resume=True)
    settings = tmp_path / "part/settings.json"
    known = settings.read_text()
    settings.write_text("[]")
    with pytest.raises(StateError, match="holds a training begun with body=None, not"):
        train("part", epochs=3, resume=True)
    settings.write_text(known)
    again = train("part", epochs=3, resume=True)
    assert state(again) == state(whole)
    losses = [[row["loss"] for row in each.history] for each in (again, whole)]
    assert losses[0] == losses[1]


def test_settings(train):
    for settings, said in [
        ({"head": "none"}, "head must be one of heatmap, direct, got 'none'"),
        ({"lr": 0}, "lr must be above 0"),
        ({"mirror": [0, 0]}, "mirror must have each of the 2 points' numbers once"),
        ({"mirror": [1, 2, 0]}, "mirror must have each"),
    ]:
        with pytest.raises(ArgumentError, match=said):
            train(**settings)
    with pytest.raises(ArgumentError, match=r"a network of minidl\.models as body, got str"):
        LandmarkNetwork("mobilenet_v1", 2)
    with pytest.raises(ArgumentError, match="expected 4 pictures or more"):
        train_landmarks(spots(3), "unused")


def test_no_epoch_with_a_finite_loss(tmp_path):
    with pytest.raises(GradError, match="the loss on the pictures held out finite: lower lr=1e"):
        train_landmarks(
            spots(6), tmp_path / "run", model="plain_cnn", arguments={"m": 3, "n": 1, "k": 0},
            epochs=1, lr=1e30, progress=False,
        )  # fmt: skip
    assert not (tmp_path / "run/landmarks.h5").exists()


def test_other_files(tmp_path):
    md.save_weights(models.lenet5(), tmp_path / "lenet.h5")
    with pytest.raises(FileFormatError, match="expected a network that finds points, found 'len"):
        load_landmarks(tmp_path / "lenet.h5")
    network = LandmarkNetwork(models.mobilenet_v1(1, width=0.25), 2, size=32)
    for key, value in [
        ("points", 10**9), ("size", 10**9), ("body", "none"), ("head", "x"), ("arguments", 3),
        ("arguments", {"num_classes": 1, "width": 0.5}), ("arguments", {"width": 99}),
    ]:  # fmt: skip
        network.architecture[1][key] = value
        md.save_weights(network, tmp_path / "odd.h5")
        with pytest.raises(FileFormatError, match="no network can be made with"):
            load_landmarks(tmp_path / "odd.h5")
        network = LandmarkNetwork(models.mobilenet_v1(1, width=0.25), 2, size=32)
