"""Small networks for the commands that measure and predict, and what they answer."""

import numpy as np
from pictures import picture

import minidl as md
from minidl import models

MOBILENET = "mobilenet_v1_0.25_224_imagenet/mobilenet_v1_0.25_224.h5"
WORDS = "imagenet_labels/synset_words.txt"
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.5, 0.75)
COUNTS = {"ant": 5, "bee": 4, "cat": 4, "dog": 3, "elk": 3, "fox": 2, "gnu": 2}


def head_of(model):
    return dict(model.named_modules())[model.scoring_layer]


def network(classes, seed=0, size=32, count=None):
    """A small network that nobody trained; its answers differ from image to image."""
    md.manual_seed(seed)
    model = models.create("resnet20", num_classes=count or len(classes)).eval()
    model.image_format = models.ImageFormat(size, "RGB", 255.0, MEAN, STD)
    model.classes = classes
    scores = model(np.stack([prepared(picture(32, 32, seed=s)) for s in range(20)])).data
    head = head_of(model)
    head.weight.data[:] /= scores.std(axis=0)
    head.bias.data[:] -= scores.mean(axis=0) / scores.std(axis=0)
    return model


def constant(probabilities, classes):
    """A network that gives every image the same probabilities."""
    model = network(classes, count=len(probabilities))
    head = head_of(model)
    head.weight.data[:], head.bias.data[:] = 0, np.log(probabilities)
    return model


def written(path, model):
    md.save_weights(model, path)
    return path


def prepared(pixels):
    return ((pixels / 255 - MEAN) / STD).astype(np.float32)


def softmax(scores):
    powers = np.exp(scores.astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def answers(model, images):
    """The probabilities (N, C) for whole images, by the network alone."""
    return softmax(model(np.stack([prepared(image) for image in images])).data)


def lines_of(text, start):
    """The lines of the table that begins with `start`."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(start))
    return lines[first : [*lines, ""].index("", first)]
