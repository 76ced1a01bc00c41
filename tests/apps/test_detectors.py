"""SSD and Faster R-CNN: sizes as in the paper, losses by loops in float64, files."""

import numpy as np
import pytest
from detecting import CLASSES, small_body, squares

import minidl as md
from minidl import models, nn, optim
from minidl.apps import detect
from minidl.apps.detect import faster_rcnn, proposals
from minidl.apps.detect.backbone import L2Norm
from minidl.errors import ArgumentError, FileFormatError, GradError, StateError
from minidl.nn import init

SIZE = (64, 96)
DETECTORS = [detect.SSD, detect.FasterRCNN]
PAPERS_MAPS = [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]


def iou(a, b):
    """Of two boxes, in float64."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def code(box, prior, weights):
    """What a detector should say at a prior to mean a box: appendix C of R-CNN's paper."""
    sides, prior_sides = (np.subtract(x[2:], x[:2]) for x in (box, prior))
    centers = [np.add(x[:2], x[2:]) / 2 for x in (box, prior)]
    found = [*(centers[0] - centers[1]) / prior_sides, *np.log(sides / prior_sides)]
    return np.multiply(found, weights)


def smooth_l1(found, wanted, beta=1.0):
    distance = np.abs(np.float64(found) - wanted)
    return np.where(distance < beta, distance**2 / (2 * beta), distance - beta / 2).sum()


def cross_entropy(scores, label):
    scores = np.float64(scores)
    return np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label]


@pytest.fixture(scope="module")
def batch():
    """Two pictures with objects, and one of background alone."""
    held = squares(2)
    images = [*(held[i][0] for i in range(2)), np.full((*SIZE, 3), 30, np.uint8)]
    nothing = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    return images, [*held.targets, nothing]


def test_ssd300_on_vgg16_is_as_in_the_paper():
    with init.skipped():
        network = models.create("vgg16")
        network.image_format = models.ImageFormat(300, "BGR", 1.0, (104, 117, 123), (1,) * 3)
        detector = detect.SSD(network, 20, 300)
    assert detector.num_parameters == 26_285_486
    priors = detector.priors(PAPERS_MAPS, (300, 300))
    assert priors.shape == (8732, 4)
    # The first prior of the second map has a side of 0.15 * 300 around (300 / 19) / 2
    center = 300 / 19 / 2
    np.testing.assert_allclose(priors[38 * 38 * 4], [center - 22.5] * 2 + [center + 22.5] * 2, 1e-5)
    layers = [type(layer) for layer in detector.body.stages[0]]
    assert layers.count(nn.Conv2d) == 10  # up to conv4_3


def test_vgg16s_linear_layers_become_convolutions():
    """Every fourth unit stays, and of fc6 every third pixel."""
    with init.skipped():
        network = models.create("vgg16")
        network.image_format = small_body().image_format
        hidden = [m for m in network.classifier.modules() if isinstance(m, nn.Linear)][:2]
        for layer in hidden:
            layer.weight.data[...] = 0
            layer.bias.data[...] = np.arange(4096)
        hidden[0].weight.data.reshape(7, 7, 512, 4096)[3, 6, 5, 8] = 2.0
        hidden[0].weight.data.reshape(7, 7, 512, 4096)[3, 5, 5, 8] = 7.0  # a pixel that is left out
        hidden[1].weight.data[8, 12] = 3.0
        body = detect.SSD(network, 2, (300, 300)).body
    *_, fc6, fc7 = body.stages[1]
    assert fc6.weight.data[1, 2, 5, 2] == 2.0
    assert np.count_nonzero(fc6.weight.data) == 1
    np.testing.assert_array_equal(fc6.bias.data, np.arange(0, 4096, 4))
    found = dict(fc7.named_parameters())["weight"].data
    assert found[0, 0, 2, 3] == 3.0
    assert np.count_nonzero(found) == 1


def test_vgg16s_maps_at_300_pixels():
    md.manual_seed(0)
    with init.skipped():
        network = models.create("vgg16")
    network.image_format = models.ImageFormat(300, "BGR", 1.0, (104, 117, 123), (1,) * 3)
    with init.skipped():
        detector = detect.SSD(network, 1, 300).eval()
    sizes = []
    for layer in (*detector.body.stages, *detector.extras):
        layer.register_forward_hook(lambda m, x, y: sizes.append(y.shape[1:3]))
    for parameter in detector.parameters():
        parameter.data[...] = 0
    with md.no_grad():
        scores, codes, priors = detector(np.zeros((1, 300, 300, 3), np.float32))
    assert sizes == PAPERS_MAPS
    assert scores.shape == (1, 8732, 2)
    assert codes.shape == (1, 8732, 4)
    assert priors.shape == (8732, 4)


def test_priors_are_no_wider_where_the_image_is():
    priors = detect.SSD(small_body(), 2, SIZE).priors([(8, 12), (4, 6)] + [(1, 1)] * 4, SIZE)
    sides = priors[:, 2:] - priors[:, :2]
    np.testing.assert_allclose(sides[0], [0.07 * 64] * 2, rtol=1e-5)
    np.testing.assert_allclose(sides[2], [0.07 * 64 * 2**0.5, 0.07 * 64 / 2**0.5], rtol=1e-5)
    centers = (priors[:, 2:] + priors[:, :2]) / 2
    np.testing.assert_allclose(centers[::4][: 8 * 12].reshape(8, 12, 2)[2, 5], [44, 20], rtol=1e-5)


def test_l2_norm():
    layer = L2Norm(3, 20.0)
    x = np.array([[[[3.0, 0.0, 4.0]]]], np.float32)
    np.testing.assert_allclose(layer(md.tensor(x)).data, [[[[12, 0, 16]]]], rtol=1e-6)


def test_ssds_loss_is_that_of_the_paper(batch):
    images, targets = batch
    md.manual_seed(0)
    detector = detect.SSD(small_body(), 2, SIZE).eval()
    x = md.tensor(detector.prepare(images))
    found = detector.loss(x, targets)
    scores, codes, priors = detector(x)
    of_class, of_box, count = 0.0, 0.0, 0
    for i, target in enumerate(targets):
        matches = np.full(len(priors), -1)
        overlaps = np.array([[iou(b, p) for p in np.float64(priors)] for b in target["boxes"]])
        if len(overlaps):
            matches = np.where(overlaps.max(0) >= 0.5, overlaps.argmax(0), -1)
            for box, prior in enumerate(overlaps.argmax(1)):
                matches[prior] = box
        labels = np.array([0 if m < 0 else 1 + target["labels"][m] for m in matches])
        losses = [cross_entropy(s, y) for s, y in zip(scores.data[i], labels, strict=True)]
        positive = np.flatnonzero(labels)
        negative = sorted((losses[j] for j in np.flatnonzero(labels == 0)), reverse=True)
        of_class += sum(losses[j] for j in positive) + sum(negative[: 3 * len(positive)])
        count += len(positive)
        for j in positive:
            wanted = code(
                np.float64(target["boxes"][matches[j]]), np.float64(priors[j]), [10, 10, 5, 5]
            )
            of_box += smooth_l1(codes.data[i, j], wanted)
    assert count > 4
    np.testing.assert_allclose(found["class"].item(), of_class / count, rtol=1e-5)
    np.testing.assert_allclose(found["box"].item(), of_box / count, rtol=1e-5)


def test_the_loss_of_region_proposals(batch, monkeypatch):
    """With as many samples as there are anchors, so that none is left to chance."""
    monkeypatch.setattr(proposals, "SAMPLED", 10**6)
    images, targets = batch
    detector = detect.FasterRCNN(small_body(), 2, SIZE).eval()
    x = md.tensor(detector.prepare(images))
    maps, strides = detector.maps(x)
    found = detector.loss(x, targets)
    scores, codes, levels = detector.proposals(maps, strides)
    anchors = np.float64(np.concatenate(levels))
    entropy, of_box, count = 0.0, 0.0, 0
    for i, target in enumerate(targets):
        boxes = np.float64(target["boxes"])
        overlaps = np.array([[iou(b, a) for a in anchors] for b in boxes])
        labels, nearest = np.zeros(len(anchors), int), np.zeros(len(anchors), int)
        if len(boxes):
            nearest, best = overlaps.argmax(0), overlaps.max(0)
            labels = np.where(best >= 0.7, 1, np.where(best < 0.3, 0, -1))
            labels[(np.isclose(overlaps, overlaps.max(1, keepdims=True))).any(0)] = 1
        for j, label in enumerate(labels):
            score = np.float64(scores.data[i, j])
            if label >= 0:
                entropy += np.log1p(np.exp(-abs(score))) + max(score, 0) - score * label
                count += 1
            if label == 1:
                wanted = code(boxes[nearest[j]], anchors[j], [1] * 4)
                of_box += smooth_l1(codes.data[i, j], wanted, 1 / 9)
    np.testing.assert_allclose(found["objectness"].item(), entropy / count, rtol=1e-5)
    np.testing.assert_allclose(found["proposal"].item(), of_box / count, rtol=1e-4)


def test_sampling_takes_the_wanted_share_and_no_more():
    md.manual_seed(0)
    matches = np.array([-1] * 50 + [0] * 10 + [-2] * 40 + [3] * 10)
    chosen = faster_rcnn.sampled(matches, 32, 0.25)
    assert len(chosen) == len(set(chosen)) == 32
    assert (matches[chosen] >= 0).sum() == 8
    assert (matches[chosen] == -2).sum() == 0
    few = faster_rcnn.sampled(np.array([0, -1, -1, -2]), 32, 0.25)
    assert sorted(few) == [0, 1, 2]
    md.manual_seed(0)
    np.testing.assert_array_equal(faster_rcnn.sampled(matches, 32, 0.25), chosen)


def test_regions_come_from_the_level_of_their_size():
    sides = np.array([5, 23, 25, 47, 49, 97, 1000], np.float32)
    boxes = np.column_stack([np.zeros_like(sides)] * 2 + [sides] * 2)
    levels = detect.FasterRCNN._levels(boxes, [8, 16, 32])
    np.testing.assert_array_equal(levels, [0, 0, 0, 0, 1, 2, 2])


@pytest.mark.parametrize(("kind", "steps"), [(detect.SSD, 60), (detect.FasterRCNN, 60)])
def test_two_pictures_are_learned_by_heart(kind, steps):
    held = squares(2)
    detector = kind(small_body(), 2, SIZE)
    for module in detector.body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.freeze()
    parameters = [p for p in detector.parameters() if p.requires_grad]
    optimizer = optim.AdamW(parameters, lr=2e-3)
    images = [held[i][0] for i in range(2)]
    x = md.tensor(detector.prepare(images))
    for _ in range(steps):
        loss = sum(detector.loss(x, held.targets).values())
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(parameters, 10.0)
        optimizer.step()
    figures = detect.measure(detector.detect_all(images), held.targets, CLASSES)
    assert figures.map_voc == 1.0
    for image, target in zip(images, held.targets, strict=True):
        found = detector.detect(image)
        order = np.argsort(found["labels"])
        np.testing.assert_array_equal(found["labels"][order], target["labels"])
        np.testing.assert_allclose(found["boxes"][order], target["boxes"], atol=4)


@pytest.mark.parametrize("kind", DETECTORS)
def test_predictions_are_in_the_pixels_of_the_image(kind):
    detector = kind(small_body(), 2, SIZE).eval()
    image = squares(2)[0][0]
    small = detector.detect(image, score_threshold=0.0)
    large = detector.detect(image.repeat(2, 0).repeat(3, 1), score_threshold=0.0)
    for found, (height, width) in ((small, SIZE), (large, (128, 288))):
        assert {name: array.dtype for name, array in found.items()} == {
            "boxes": np.float32, "labels": np.int64, "scores": np.float32,
        }  # fmt: skip
        assert 0 < len(found["boxes"]) == len(found["labels"]) == len(found["scores"]) <= 200
        assert (np.diff(found["scores"]) <= 0).all()
        assert (found["boxes"] >= 0).all()
        assert (found["boxes"][:, 2:] <= [width + 1e-3, height + 1e-3]).all()
    assert large["boxes"][:, 2].max() > 96


@pytest.mark.parametrize("kind", DETECTORS)
def test_another_size_than_it_was_made_for(kind):
    """Priors and anchors follow from the maps."""
    detector = kind(small_body(), 2, SIZE).eval()
    image = squares(2)[0][0]
    detector.size = (96, 80)
    found = detector.detect(image, score_threshold=0.0)
    assert len(found["boxes"])
    assert (found["boxes"][:, 2:] <= [96 + 1e-3, 64 + 1e-3]).all()


@pytest.mark.parametrize("kind", DETECTORS)
def test_files(kind, tmp_path):
    settings = {"scales": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)} if kind is detect.SSD else {}
    detector = kind(small_body(), 2, SIZE, **settings).eval()
    detector.classes = CLASSES
    md.save_weights(detector, tmp_path / "a.h5")
    found = detect.load(tmp_path / "a.h5")
    assert (type(found), found.size, found.classes) == (kind, SIZE, CLASSES)
    assert found.image_format == detector.image_format
    assert not found.training
    image = squares(2)[0][0]
    mine, its = (each.detect(image, score_threshold=0.1) for each in (detector, found))
    for name in mine:
        np.testing.assert_array_equal(mine[name], its[name])


def test_other_files_are_refused(tmp_path):
    md.save_weights(small_body(), tmp_path / "body.h5")
    with pytest.raises(FileFormatError, match=r"body.h5: expected a detector, one of ssd, faster"):
        detect.load(tmp_path / "body.h5")
    md.save_weights(nn.Linear(2, 2), tmp_path / "layer.h5")
    with pytest.raises(FileFormatError, match=r"layer.h5: it names no architecture"):
        detect.load(tmp_path / "layer.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(FileFormatError, match=r"text.h5"):
        detect.load(tmp_path / "text.h5")
    detector = detect.SSD(small_body(), 2, SIZE)
    detector.classes = CLASSES
    for arguments in (
        {"body": "resnet19"}, {"num_classes": 3}, {"size": [0, 0]}, {"what": 1},
        {"body_arguments": {"width": 50.0}}, {"body_arguments": {"weights": "body.h5"}},
        {"body_arguments": [1]}, {"body": ["mobilenet_v1"]}, {"scales": 3},
        {"num_classes": 10**12},
    ):  # fmt: skip
        detector.architecture = ("ssd", {**detector.architecture[1], **arguments})
        md.save_weights(detector, tmp_path / "odd.h5")
        with pytest.raises(FileFormatError, match=r"odd.h5: a ssd can't be made with"):
            detect.load(tmp_path / "odd.h5")
        detector = detect.SSD(small_body(), 2, SIZE)
        detector.classes = CLASSES
    md.save_weights(detector, tmp_path / "cut.h5")
    whole = (tmp_path / "cut.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises((FileFormatError, StateError), match=r"cut.h5"):
        detect.load(tmp_path / "cut.h5")


@pytest.mark.parametrize("kind", DETECTORS)
def test_what_no_detector_is_made_of(kind):
    who, body = kind.__name__, small_body()
    for size in (31, (64, 5000), (64, 64, 3), "large", (64.5, 64)):
        with pytest.raises(ArgumentError, match=f"{who}: size must be"):
            kind(body, 2, size)
    with pytest.raises(ArgumentError, match=f"{who}: num_classes must be"):
        kind(body, 0, SIZE)
    with pytest.raises(ArgumentError, match=f"{who} expected a network of minidl.models"):
        kind(nn.Linear(2, 2), 2, SIZE)
    body.image_format = None
    with pytest.raises(ArgumentError, match=f"{who}: mobilenet_v1 doesn't say what images"):
        kind(body, 2, SIZE)
    grey = models.create("nin_cifar", in_channels=1)
    grey.image_format = models.ImageFormat(32, "RGB", 255.0, (0.0,), (1.0,))
    with pytest.raises(ArgumentError, match=f"{who} expected a network for RGB images"):
        kind(grey, 2, SIZE)


def test_strides_and_bodies_that_leave_out_the_edges():
    with init.skipped():
        body = models.create("alexnet")
        body.image_format = models.ImageFormat(227, "RGB", 255.0, (0.0,) * 3, (1.0,) * 3)
        assert detect.SSD(body, 2, SIZE).body.strides == (8, 16, 32)
        with pytest.raises(ArgumentError, match=r"FasterRCNN: layers of alexnet don't pad"):
            detect.FasterRCNN(body, 2, SIZE)
    detector = detect.FasterRCNN(small_body(), 2, SIZE)
    assert (detector.body.strides, detector.body.channels) == ((8, 16, 32), (64, 128, 256))
    alone = detect.FasterRCNN(small_body(), 2, SIZE, pyramid=False)
    assert (alone.body.strides, alone.body.channels) == ((8, 16), (64, 128))
    assert alone.eval().detect(squares(2)[0][0], score_threshold=0.0)["boxes"].shape[1] == 4


def test_arguments_of_detect():
    detector = detect.SSD(small_body(), 2, SIZE)
    image = squares(2)[0][0]
    for wrong in ({"score_threshold": 1.5}, {"iou_threshold": -0.1}, {"score_threshold": "0"}):
        with pytest.raises(ArgumentError, match=f"detect: {next(iter(wrong))} must be"):
            detector.detect(image, **wrong)
    with pytest.raises(ValueError, match="detect: image= must be a picture"):
        detector.detect(image[0, 0])
    assert detector.detect_all([]) == []
    grey, clear = image[..., 0], np.concatenate([image, image[..., :1]], axis=2)
    for found, like in zip(
        detector.detect_all([grey, clear]), [np.stack([grey] * 3, axis=2), image], strict=True
    ):
        wanted = detector.detect_all([like])[0]
        np.testing.assert_allclose(found["scores"], wanted["scores"], rtol=1e-4)
    detector.score_heads[0].bias.data[:] = np.nan
    with pytest.raises(GradError, match="SSD: its outputs aren't finite"):
        detector.detect(image)
    with pytest.raises(ArgumentError, match="SSD: scales must be 7 rising numbers"):
        detect.SSD(small_body(), 2, SIZE, scales=(0.1, 0.2))
    with pytest.raises(ArgumentError, match="SSD: scales must be a list of numbers, got 3"):
        detect.SSD(small_body(), 2, SIZE, scales=3)


def test_the_smallest_images_for_vgg16():
    body = models.create("vgg16", num_classes=1)
    body.image_format = small_body().image_format
    with pytest.raises(ArgumentError, match=r"at least 268 pixels.* for vgg16.*\(267, 300\)"):
        detect.SSD(body, 1, (267, 300))
    assert detect.SSD(body, 1, 268).eval().detect(squares(2)[0][0])["boxes"].shape[1] == 4
