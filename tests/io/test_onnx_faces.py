"""The face detector RFB-320 in its two forms: every face, nothing else, and the same boxes."""

import numpy as np
import pytest

import minidl as md
from minidl import models

Image = pytest.importorskip("PIL.Image", reason='needs Pillow: pip install "minidl[images]"')
from PIL import ImageOps  # noqa: E402

FORMS = ("version-RFB-320", "version-RFB-320_simplified")
SIDES = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}  # pixels, by stride
# Between the eyes of each face of `sheet`, read off the picture
EYES = [(120, 52), (332, 122), (693, 152), (330, 483), (118, 553), (657, 583)]


def sheet(folder):
    """MTCNN's two test photos, with three faces, and below them their mirror images."""
    photos = [Image.open(folder / f"test{i}.jpg").convert("RGB") for i in (1, 2)]
    whole = Image.new("RGB", (900, 862))
    for column, photo in enumerate(photos):
        whole.paste(photo, (450 * column, 0))
        whole.paste(ImageOps.mirror(photo), (450 * column, 431))
    return whole


def priors():
    """The boxes that offsets are relative to: x, y, width, height as parts of the picture."""
    found = []
    for stride, sides in SIDES.items():
        rows, columns = -(-240 // stride), -(-320 // stride)
        for y, x in np.ndindex(rows, columns):
            place = (x + 0.5) * stride / 320, (y + 0.5) * stride / 240
            found += [(*place, side / 320, side / 240) for side in sides]
    return np.clip(found, 0, 1)


def decoded(offsets):
    """SSD's boxes (Liu et al. 2016), with the variances 0.1 and 0.2."""
    p = priors()
    middles = offsets[:, :2] * 0.1 * p[:, 2:] + p[:, :2]
    sides = np.exp(offsets[:, 2:] * 0.2) * p[:, 2:]
    return np.concatenate([middles - sides / 2, middles + sides / 2], axis=1)


def apart(boxes, scores):
    """The best of boxes that overlap by more than 0.3, best first."""
    kept = []
    for i in np.argsort(-scores):
        for j in kept:
            low = np.maximum(boxes[i, :2], boxes[j, :2])
            common = np.maximum(np.minimum(boxes[i, 2:], boxes[j, 2:]) - low, 0).prod()
            areas = (boxes[[i, j], 2:] - boxes[[i, j], :2]).prod(axis=1)
            if common > 0.3 * (areas.sum() - common):
                break
        else:
            kept.append(i)
    return kept


def faces(path, picture):
    """Scores, and corners in the picture's pixels."""
    x = (np.asarray(picture.resize((320, 240), Image.BILINEAR), np.float32) - 127) / 128
    net = models.load(path).eval()
    with md.no_grad():
        scores, boxes = (y.data[0] for y in net(x[None]))
    boxes = decoded(boxes) if "simplified" in path.name else boxes
    likely = scores[:, 1] > 0.7
    scores, boxes = scores[likely, 1], boxes[likely]
    best = apart(boxes, scores)
    return scores[best], boxes[best] * [*picture.size, *picture.size]


def test_six_of_six_faces(shared_data):
    picture = sheet(shared_data / "mtcnn_caffe")
    found = [faces(shared_data / "ultraface_rfb320" / f"{name}.onnx", picture) for name in FORMS]
    for scores, boxes in found:
        assert len(boxes) == len(EYES)
        assert scores.min() > 0.99
        inside = [((boxes[:, :2] < eyes) & (eyes < boxes[:, 2:])).all(axis=1) for eyes in EYES]
        assert sorted(np.flatnonzero(each).tolist() for each in inside) == [[i] for i in range(6)]
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=0, atol=0.1)
