"""`minidl explain`, and `train.explain`."""

import re

import numpy as np
import pytest
from cli_members import network, written
from command import minidl
from pictures import picture, save
from PIL import Image

from minidl import analysis, data, train
from minidl.errors import ArgumentError, FileFormatError

NAMES = ["ant", "bee", "cat"]


@pytest.fixture
def files(tmp_path):
    """The weights of a network, and an image."""
    weights = written(tmp_path / "w.h5", network(NAMES))
    return weights, save(tmp_path / "p.png", picture(40, 30))


def test_a_picture_is_saved(files, tmp_path):
    weights, image = files
    output = tmp_path / "explained.png"
    done = minidl("explain", image, "--weights", weights, "-o", output)
    assert (done.status, done.err) == (0, "")
    told = next(train.predict(weights, image, top=1, verbose=False)).classes[0]
    assert done.out.startswith(f"{told['class']}: {told['probability']:.2%}; {output}")
    with Image.open(output) as drawn:
        assert drawn.width > drawn.height > 100


def test_what_is_explained(files):
    weights, image = files
    model = network(NAMES).eval()
    found = train.explain(weights, image, target="cat")
    assert (found.number, found.name) == (2, "cat")
    pixels = data.read_image(image, model.decoded_size)
    x = pixels[None]
    for transform in model.preparation():
        x = transform(x)
    np.testing.assert_array_equal(found.maps["Grad-CAM"], analysis.grad_cam(model, x, 2))
    assert list(found.maps) == ["Grad-CAM", "guided saliency", "occlusion"]
    guided = analysis.guided_saliency(model, x, 2)
    np.testing.assert_array_equal(found.maps["guided saliency"], guided)
    np.testing.assert_array_equal(found.maps["occlusion"], analysis.occlusion(model, x, 2))
    scores = model(x).data[0].astype(float)
    assert found.probability == pytest.approx(np.exp(scores[2]) / np.exp(scores).sum(), rel=1e-5)
    assert found.pixels.shape == (*x.shape[1:3], 3)
    if x.shape[1:3] == pixels.shape[:2]:
        np.testing.assert_array_equal(found.pixels, pixels)
    assert train.explain(weights, image, target="2").number == 2
    assert train.explain(weights, image, target=1).name == "bee"


def test_wrong_calls(files, tmp_path):
    weights, image = files
    with pytest.raises(ArgumentError, match=r"has no class 'dog': it knows ant, bee, cat"):
        train.explain(weights, image, target="dog")
    for target in (3, [0], 1.0, True):
        with pytest.raises(
            ArgumentError, match=rf"has classes 0 to 2, got {re.escape(f'{target}')}"
        ):
            train.explain(weights, image, target=target)
    with pytest.raises(ArgumentError, match=r"no layer 'last' ran; these give maps"):
        train.explain(weights, image, layer="last")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(FileFormatError, match="expected an image"):
        train.explain(weights, tmp_path / "text.png")
    done = minidl("explain", image, "--weights", weights, "-o", "x.txt")
    assert done.status == 2
    assert "--output expected a .png, .pdf, .svg file, got x.txt" in done.err
