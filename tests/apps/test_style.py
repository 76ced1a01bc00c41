"""Neural style: its terms in closed form, its gradients, its levels, its colors."""

import numpy as np
import pytest
from small_bodies import body, photo

import minidl as md
from minidl.apps import colors
from minidl.apps.bodies import Body
from minidl.apps.style import gram, stylize, total_variation
from minidl.apps.style_losses import StyleLosses, noise_like
from minidl.errors import ArgumentError, MinidlError, ShapeError

LAYERS = {"content_layers": ["second"], "style_layers": ["first", "second", "third"]}
SHORT = LAYERS | {"size": 32, "steps": 12}
STYLE = photo(30, 64, seed=9)[::-1]


def test_gram_of_one_channel_a_pixel():
    """Of maps in which each pixel has one channel, it counts them; it knows no places."""
    which = np.array([[0, 0, 1, 2], [0, 1, 1, 0]])
    x = np.eye(3, dtype=np.float32)[which][None]  # (1, 2, 4, 3)
    np.testing.assert_allclose(gram(x)[0], np.diag([4, 3, 1]) / 8)
    moved = np.ascontiguousarray(x[:, ::-1])
    np.testing.assert_allclose(gram(moved), gram(x))
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    np.testing.assert_allclose(gram(values), np.einsum("nhwc,nhwd->ncd", values, values) / 12)
    md.gradcheck(gram, [md.tensor(values, requires_grad=True)])
    with pytest.raises(ShapeError, match=r"gram expected maps as a \(N, H, W, C\) array"):
        gram(x[0])


def test_total_variation_of_a_slope_and_a_checkerboard():
    rows, columns = np.mgrid[:5, :7].astype(float)
    slope = (2 * rows + 3 * columns)[None, ..., None]
    assert total_variation(slope).item() == pytest.approx(4 + 9)
    board = ((rows + columns) % 2)[None, ..., None]
    assert total_variation(board).item() == pytest.approx(2)
    assert total_variation(np.ones((1, 4, 4, 3))).item() == 0
    with pytest.raises(ShapeError, match="2 pixels or more each way"):
        total_variation(np.ones((1, 1, 4, 3)))


def aimed(styles=(STYLE,), mix=(1.0,)):
    known = Body("test", body())
    losses = StyleLosses("test", known, LAYERS["content_layers"], LAYERS["style_layers"])
    entered = [known.enter(each / np.float32(255)) for each in styles]
    content = known.enter(photo(24, 32) / np.float32(255))
    losses.aim(content, entered, list(mix))
    return losses, content, entered


def test_the_terms_are_0_where_nothing_differs():
    losses, content, entered = aimed()
    assert losses.terms(md.tensor(content))["content"].item() == 0
    assert losses.terms(md.tensor(entered[0][:, :24, :32]))["style"].item() > 0
    losses.aim(content, [content], [1.0])
    assert losses.terms(md.tensor(content))["style"].item() < 1e-12
    losses.aim(content * 0 + 0.5, entered, [1.0])
    of_grey = losses.terms(md.tensor(content * 0 + 0.5))
    assert (of_grey["content"].item(), of_grey["tv"].item()) == (0, 0)


def test_balance_makes_the_gradients_what_the_shares_say():
    losses, content, _ = aimed()
    md.manual_seed(0)
    noise = noise_like(content)
    np.testing.assert_allclose(noise.mean(), content.mean(), atol=0.05)

    def norms():
        found = {}
        for name in ("content", "style", "tv"):
            x = md.tensor(noise, requires_grad=True)
            (gradient,) = md.grad(losses.terms(x)[name] * losses.weights[name], [x])
            found[name] = np.linalg.norm(gradient.data)
        return found

    losses.balance(noise, {})
    pulls = norms()
    assert losses.weights["style"] == 1
    assert pulls["content"] / pulls["style"] == pytest.approx(0.008, rel=1e-3)
    assert pulls["tv"] / pulls["style"] == pytest.approx(0.002, rel=1e-3)
    losses.balance(noise, {"content": 2.0, "style": None, "tv": 0.0})
    assert (losses.weights["content"], losses.weights["tv"]) == (2, 0)
    assert norms()["content"] / norms()["style"] == pytest.approx(0.008, rel=1e-3)


def test_several_styles_count_as_the_mix_says():
    other = photo(30, 40, seed=3)
    single = [aimed([each])[0] for each in (STYLE, other)]
    both, content, _ = aimed([STYLE, other], [0.25, 0.75])
    one, two = (each.terms(md.tensor(content))["style"].item() for each in single)
    found = both.terms(md.tensor(content))["style"].item()
    assert found == pytest.approx(0.25 * one + 0.75 * two, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_loss_falls_at_each_size_and_a_seed_gives_the_same_bits(optimizer):
    settings = SHORT | {"size": 160, "optimizer": optimizer}
    told = []
    found = stylize(photo(), STYLE, body(), on_step=told.append, **settings)
    assert found.picture.shape == (133, 160, 3)
    assert sorted({row["size"] for row in found.losses}) == [80, 160]
    for size in (80, 160):
        first, *rest = (row["total"] for row in found.losses if row["size"] == size)
        assert min(rest) < 0.5 * first
    for row in found.losses:
        assert row["total"] == pytest.approx(row["content"] + row["style"] + row["tv"], rel=1e-5)
    again = stylize(photo(), STYLE, body(), **settings)
    np.testing.assert_array_equal(again.picture, found.picture)
    assert (told[-1].total, told[0].stage) == (24, "80 px")
    np.testing.assert_array_equal(told[-1].picture(), found.picture)
    assert told[3].picture().shape == found.picture.shape
    assert found.settings["style_weight"] == 1.0


def test_colors_that_are_kept():
    content, style = photo() / 255, STYLE / 255
    mixed = colors.keep_luminance(content[::-1], content)
    weights = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(mixed @ weights, content[::-1] @ weights, atol=1e-6)
    np.testing.assert_allclose(mixed - (mixed @ weights)[..., None],
                               content - (content @ weights)[..., None], atol=1e-6)  # fmt: skip
    narrow = 0.5 + 0.1 * (content - 0.5)  # so that nothing is clipped
    matched = colors.match_colors(style, narrow).reshape(-1, 3)
    np.testing.assert_allclose(matched.mean(0), narrow.reshape(-1, 3).mean(0), atol=1e-6)
    np.testing.assert_allclose(np.cov(matched.T), np.cov(narrow.reshape(-1, 3).T), atol=1e-4)
    for whose in ("luminance", "histogram"):
        found = stylize(photo(), STYLE, body(), colors=whose, **SHORT)
        assert found.picture.shape == (27, 32, 3)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"size": 4}, r"needs at least 5x5 pixels .* would have 3x4: a size= of 7 would do"),
        ({"size": 10**6}, r"a picture of 1000000 pixels needs .*: a size= of \d+ would do"),
        ({"style_layers": ["frist"]}, "no layer 'frist' that gives maps: did you mean first"),
        ({"style_layers": None}, "no usual layers for style: give content_layers= and"),
        ({"mix": [1, 2]}, "mix= must have a number from 0 up for each of 1 styles"),
        ({"colors": "lumniance"}, "colors= must be one of .*: did you mean luminance"),
        ({"optimizer": "sgd"}, "optimizer= must be one of lbfgs, adam"),
        ({"content_weight": -1}, "content_weight= must be 0 or more"),
        ({"steps": 0}, "steps= must be a whole number from 1 up"),
        ({"styles": []}, "styles= names no picture"),
        ({"weights": None}, "weights= is missing"),
    ],
)
def test_what_it_refuses(arguments, match):
    given = {"content": photo(), "styles": STYLE, "weights": body()} | SHORT
    with pytest.raises(MinidlError, match=match) as caught:
        stylize(**given | arguments)
    assert isinstance(caught.value, ArgumentError)


def test_colors_of_one_pixel():
    content = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    pixel = np.full((1, 1, 3), 0.5, np.float32)
    np.testing.assert_allclose(
        colors.match_colors(pixel, content)[0, 0], content.mean(axis=(0, 1)), rtol=1e-5
    )
    np.testing.assert_allclose(colors.match_colors(content, pixel), 0.5, atol=0.02)
