"""What an answer rests on: beside formulas, and on networks whose answer is known."""

import numpy as np
import pytest

import minidl as md
from minidl import analysis, models, nn
from minidl.errors import ArgumentError, DTypeError, ShapeError


class Corner(nn.Module):
    """Two classes: class 1 scores the brightness of the upper left quarter, class 0 of the rest."""

    classes = ("rest", "corner")

    def __init__(self):
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.conv.weight.data[...] = 1

    def forward(self, x):
        maps = self.conv(x)
        corner = maps[:, :4, :4, 1].mean(axis=(1, 2))
        rest = maps[:, 4:, :, 0].mean(axis=(1, 2))
        return md.stack([rest, corner], axis=1)


def image_of(height, width, channels=1, seed=0):
    return np.random.default_rng(seed).random((height, width, channels), np.float32)


def test_the_map_is_the_papers():
    model = models.lenet5()
    image = image_of(32, 32)
    heat = analysis.grad_cam(model, image, target=3, layer="features.0")
    maps = model.features[0](image[None])
    rest = nn.Sequential(*list(model.features)[1:], model.classifier).eval()
    maps = md.tensor(maps.data, requires_grad=True)
    (gradient,) = md.grad(rest(maps)[0, 3], [maps])
    weights = gradient.data[0].astype(np.float64).mean(axis=(0, 1))
    expected = np.maximum((maps.data[0] * weights).sum(axis=-1), 0)
    expected /= expected.max()
    assert heat.shape == (32, 32)
    size = expected.shape[0]
    places = np.clip((np.arange(32) + 0.5) * size / 32 - 0.5, 0, size - 1)
    low = np.minimum(places.astype(int), size - 2)
    part = places - low
    rows = expected[low] * (1 - part)[:, None] + expected[low + 1] * part[:, None]
    expected = rows[:, low] * (1 - part) + rows[:, low + 1] * part
    np.testing.assert_allclose(heat, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "size", "name"),
    [
        (lambda: models.resnet18(num_classes=5), 64, "features"),
        (lambda: models.densenet121(num_classes=5), 64, "features"),
        (lambda: models.mobilenet_v1(num_classes=5, width=0.25), 64, "features"),
    ],
)
def test_the_last_maps_are_found(make, size, name):
    model, image = make().eval(), image_of(size, size, 3)
    found = analysis.grad_cam(model, image)
    np.testing.assert_array_equal(found, analysis.grad_cam(model, image, layer=name))
    assert found.shape == (size, size)


def test_frozen_models_are_explained_and_left_alone():
    model = models.lenet5()
    image = image_of(32, 32)
    before = analysis.grad_cam(model, image)
    model.freeze().train()
    state = model.state_dict()
    np.testing.assert_array_equal(analysis.grad_cam(model, image[None]), before)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert all((value == state[name]).all() for name, value in model.state_dict().items())


def test_within_no_grad_the_map_is_the_same():
    model, image = models.lenet5(), image_of(32, 32)
    expected = analysis.grad_cam(model, image, 3)
    with md.no_grad():
        np.testing.assert_array_equal(analysis.grad_cam(model, image, 3), expected)


def test_a_softmax_at_the_end_is_left_out():
    plain = models.lenet5()
    image = image_of(32, 32)
    ending = nn.Sequential(plain, nn.Softmax())
    np.testing.assert_array_equal(
        analysis.grad_cam(ending, image, target=2), analysis.grad_cam(plain, image, target=2)
    )


def test_probabilities_of_unknown_make_are_refused():
    class Ends(nn.Module):
        def __init__(self):
            self.body = models.lenet5()

        def forward(self, x):
            return nn.functional.softmax(self.body(x))

    with pytest.raises(ArgumentError, match=r"grad_cam explains scores before the softmax"):
        analysis.grad_cam(Ends(), image_of(32, 32))


def test_guided_saliency_beside_its_formula():
    """Of scores v relu(W x): the gradient is W' of v where both v and the ReLU's output are
    above 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(27, 8, activation="relu"), nn.Linear(8, 2))
    image = image_of(3, 3, 3) - 0.5
    within, last = (model[i].weight.data.astype(float) for i in (1, 2))  # (27, 8), (8, 2)
    active = image.ravel() @ within + model[1].bias.data > 0
    expected = (within @ (np.maximum(last[:, 1], 0) * active)).reshape(3, 3, 3)
    expected = np.abs(expected).max(axis=2)
    found = analysis.guided_saliency(model, image, 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-5)
    model[2].weight.data[...] = -1  # nothing speaks for the class
    assert not analysis.guided_saliency(model, image, 1).any()


def test_guided_saliency_needs_relus():
    smooth = nn.Sequential(nn.Flatten(), nn.Linear(16, 4, activation="tanh"), nn.Linear(4, 3))
    with pytest.raises(ArgumentError, match=r"there is none .*: use occlusion or grad_cam"):
        analysis.guided_saliency(smooth, image_of(4, 4))


def test_hiding_what_counts_costs_most():
    image = image_of(8, 8) + 5
    lost = analysis.occlusion(Corner(), image, "corner", size=2, stride=2)
    assert lost.shape == (8, 8)
    assert (lost[:4, :4] > 0).all()
    np.testing.assert_allclose(lost[:4, 4:], 0, atol=1e-6)
    assert (lost[4:] < 0).all()  # hiding the rest makes the corner likelier


def test_a_square_beside_its_formula():
    model, image = models.lenet5().eval(), image_of(32, 32)
    lost = analysis.occlusion(model, image, target=1, size=16, stride=16, fill=0.5)

    def probability(x):
        scores = model(x).data.astype(np.float64)[0]
        return np.exp(scores[1]) / np.exp(scores).sum()

    hidden = image[None].copy()
    hidden[:, 16:, :16] = 0.5
    expected = probability(image[None]) - probability(hidden)
    np.testing.assert_allclose(lost[16:, :16], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "size", "stride"), [(7, 9, 3, 2), (5, 5, 9, 1), (6, 6, 2, 2)]
)
def test_every_pixel_is_hidden(height, width, size, stride):
    class Mean(nn.Module):
        def forward(self, x):
            return md.stack([x.mean(axis=(1, 2, 3)), x.mean(axis=(1, 2, 3)) * 2], axis=1)

    lost = analysis.occlusion(Mean(), image_of(height, width), 1, size=size, stride=stride)
    assert np.isfinite(lost).all()


BAD = [
    (lambda m, x: analysis.grad_cam(m, x[..., 0]), ShapeError, r"expected one image, \(H, W, C\)"),
    (lambda m, x: analysis.grad_cam(m, np.stack([x, x])), ShapeError, r"expected one image"),
    (lambda m, x: analysis.grad_cam(m, (x * 255).astype(np.uint8)), ArgumentError, r"got uint8"),
    (lambda m, x: analysis.grad_cam(m, x, 10), ArgumentError, r"from 0 to 9, got 10"),
    (lambda m, x: analysis.grad_cam(m, x, True), ArgumentError, r"from 0 to 9, got True"),
    (lambda m, x: analysis.grad_cam(m, x, "cat"), ArgumentError, r"no class 'cat': it names no"),
    (lambda m, x: analysis.grad_cam(m, x, layer="f"), ArgumentError, r"no layer 'f' ran; these"),
    (lambda m, x: analysis.grad_cam(m, x, layer="classifier"), ShapeError, r"classifier gives no"),
    (lambda m, x: analysis.guided_saliency(m, x, 10), ArgumentError, r"from 0 to 9, got 10"),
    (lambda m, x: analysis.guided_saliency(None, x), DTypeError, r"guided_saliency expected"),
    (lambda m, x: analysis.occlusion(m, x, size=0), ArgumentError, r"size must be a whole number"),
    (lambda m, x: analysis.occlusion(m, x, fill=None), ArgumentError, r"fill must be a finite"),
    (lambda m, x: analysis.occlusion(m, [[1.0], [2.0, 3.0]]), ShapeError, r"expected one image"),
    (lambda m, x: analysis.grad_cam(m.forward, x), DTypeError, r"expected a model, .* got method"),
    (lambda m, x: analysis.grad_cam(md.compile(m.eval()), x), DTypeError, r"compiled from"),
    (lambda m, x: analysis.occlusion(None, x), DTypeError, r"occlusion expected .* got NoneType"),
    (lambda m, x: analysis.occlusion(m, x, size=2, stride=5), ArgumentError, r"would leave pixels"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(models.lenet5(), image_of(32, 32))


def test_models_without_maps_or_scores():
    with pytest.raises(ShapeError, match="no convolution of its own"):
        analysis.grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), image_of(4, 4))
    with pytest.raises(ShapeError, match=r"gives scores \(N, classes\), got"):
        analysis.grad_cam(nn.Conv2d(1, 2, 3), image_of(4, 4))
