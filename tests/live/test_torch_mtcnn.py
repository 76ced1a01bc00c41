"""MTCNN's cascade written out in PyTorch, box by box, on images turned as its weights want them."""

import numpy as np
import pytest

from minidl.apps.detect import MTCNN
from minidl.data import read_image
from minidl.io.caffe import read_caffemodel

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install minidl[oracle]")
F = torch.nn.functional

POOLS = {1: {0: (2, 2)}, 2: {0: (3, 2), 1: (3, 2)}, 3: {0: (3, 2), 1: (3, 2), 2: (2, 2)}}


class Net:
    """One of the three networks, with Caffe's own kernels: x is (N, 3, W, H), columns first."""

    def __init__(self, number, folder):
        self.pools = POOLS[number]
        self.layers = [
            (layer.name, layer.type, [torch.tensor(b) for b in layer.blobs])
            for layer in read_caffemodel(folder / f"det{number}.caffemodel")
        ]

    def __call__(self, x):
        outputs, convolutions = [], 0
        for name, kind, blobs in self.layers:
            if "-" in name:  # conv4-1 and so on: the heads
                head = F.conv2d if kind == "Convolution" else F.linear
                outputs.append(head(x, *blobs))
            elif kind == "Convolution":
                x = F.conv2d(x, *blobs)
            elif kind == "InnerProduct":
                x = F.linear(x.flatten(1), *blobs)
            else:
                x = F.prelu(x, blobs[0])
                if convolutions in self.pools:
                    x = F.max_pool2d(x, *self.pools[convolutions], ceil_mode=True)
                convolutions += 1
        return outputs


def iou(a, b, smaller=False):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    one, other = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return shared / (min(one, other) if smaller else one + other - shared)


def suppressed(found, threshold, smaller=False):
    """Candidates, each (box, score, ...), without those that a better one covers."""
    kept = []
    for each in sorted(found, key=lambda c: -c[1]):
        if all(iou(each[0], other[0], smaller) <= threshold for other in kept):
            kept.append(each)
    return kept


def moved(box, code):
    width, height = box[2] - box[0], box[3] - box[1]
    return [x + c * s for x, c, s in zip(box, code, (width, height) * 2, strict=True)]


def square(box):
    side = max(1, round(max(box[2] - box[0], box[3] - box[1])))
    x, y = (round((box[i] + box[i + 2] - side) / 2) for i in (0, 1))
    return [x, y, x + side, y + side]


def crop(image, box, size):
    """(1, 3, size, size), columns first, of an image (3, W, H); black outside."""
    x1, y1, x2, y2 = box
    x, y = max(x1, 0), max(y1, 0)
    part = image[:, x : max(x2, 0), y : max(y2, 0)]
    padded = torch.zeros(3, x2 - x1, y2 - y1)
    padded[:, x - x1 : x - x1 + part.shape[1], y - y1 : y - y1 + part.shape[2]] = part
    return normalized(F.adaptive_avg_pool2d(padded[None], size))


def normalized(x):
    return (x - 127.5) / 128


def proposals(net, image, min_size, threshold):
    """Of all levels, on an image (3, W, H)."""
    _, width, height = image.shape
    scale, found = 12 / min_size, []
    while min(width, height) * scale >= 12:
        w, h = (int(np.ceil(n * scale)) for n in (width, height))
        logits, codes = net(normalized(F.adaptive_avg_pool2d(image[None], (w, h))))
        scores, level = logits.softmax(1)[0, 1], []
        for i, j in (scores >= threshold).nonzero().tolist():
            edges = [2 * i, 2 * j, 2 * i + 12, 2 * j + 12]
            level.append((edges, scores[i, j].item(), codes[0, :, i, j].tolist()))
        ratio = np.array([width / w, height / h] * 2)
        for box, *rest in suppressed(level, 0.5):
            found.append(((np.array(box) * ratio).tolist(), *rest))
        scale *= 0.709
    return [moved(box, code) for box, _, code in suppressed(found, 0.7)]


def seen(net, image, boxes, size, threshold):
    found = []
    for box in map(square, boxes):
        logits, code, points = net(crop(image, box, size))
        score = logits.softmax(1)[0, 1].item()
        if score >= threshold:
            found.append((box, score, code[0].tolist(), points[0].reshape(2, 5).T.numpy()))
    return found


def cascade(folder, pixels, min_size=20, thresholds=(0.6, 0.7, 0.7)):
    """(box, score, points) of each face, by falling score."""
    pnet, rnet, onet = (Net(i, folder) for i in (1, 2, 3))
    image = torch.tensor(pixels.transpose(2, 1, 0).astype(np.float32))  # (3, W, H)
    height, width = pixels.shape[:2]
    with torch.no_grad():
        boxes = proposals(pnet, image, min_size, thresholds[0])
        refined = suppressed(seen(rnet, image, boxes, 24, thresholds[1]), 0.7)
        boxes = [moved(box, code) for box, _, code, _ in refined]
        last = seen(onet, image, boxes, 48, thresholds[2])
    found = []
    for box, score, code, shares in last:
        clipped = np.clip(moved(box, code), 0, [width, height] * 2).tolist()
        if min(clipped[2] - clipped[0], clipped[3] - clipped[1]) >= 1:
            corner, side = np.array(box[:2]), box[2] - box[0]
            found.append((clipped, score, corner + shares * side))
    return suppressed(found, 0.7, smaller=True)


CASES = [
    ("mtcnn_caffe/test1.jpg", None, {}),
    ("mtcnn_caffe/test2.jpg", (215, 225), {}),
    ("mtcnn_caffe/test1.jpg", (150, 101), {"min_size": 12, "thresholds": (0.3, 0.3, 0.2)}),
    ("photos/keras_squeezenet_cat.jpeg", (80, 110), {"thresholds": (0.2, 0.1, 0.05)}),
]


@pytest.mark.parametrize(("file", "size", "settings"), CASES)
def test_the_same_faces(file, size, settings, shared_data):
    folder = shared_data / "mtcnn_caffe"
    pixels = read_image(shared_data / file, size)
    found = MTCNN.load(folder).detect(pixels, **settings)
    wanted = cascade(folder, pixels, **settings)
    assert len(found["boxes"]) == len(wanted) > 0
    boxes, scores, points = (np.array(each) for each in zip(*wanted, strict=True))
    np.testing.assert_allclose(found["scores"], scores, atol=1e-4)
    np.testing.assert_allclose(found["boxes"], boxes, atol=0.02)
    np.testing.assert_allclose(found["points"], points, atol=0.02)
