"""What layers of Keras's without weights make of numbers, in the words of `effects`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl.io import expression
from minidl.io.effects import (
    LAST_STEP,
    NONE,
    OF_STEPS,
    UNKNOWN,
    Effects,
    around_whole,
    elu,
    leaky,
    of_activation,
    pooling,
    surrounding,
    up_to,
    upsampling,
    with_scale,
)
from minidl.io.keras import CLASSES

__all__ = ["MERGES", "of_keras", "rescaling"]

KEPT = {
    "ActivityRegularization", "AlphaDropout", "Concatenate", "Dropout", "Flatten",
    "GaussianDropout", "GaussianNoise", "Identity", "InputLayer", "Permute", "RepeatVector",
    "Reshape", "SpatialDropout2D", "ZeroPadding2D",
}  # fmt: skip
MERGES = {"Add": "add", "Multiply": "multiply", "Subtract": "subtract"}
CHANGING = ("Normalization", "Resizing", "CenterCrop", "Cropping2D", "UnitNormalization")
MOVING_CHANNELS = ([2, 3, 1], [3, 1, 2], [1, 2, 3], [1, 2], [1])  # or nothing at all
NO_ZEROS = ((0, 0, 0, 0), expression.UNKNOWN)
OWN_ACTIVATION = ("SimpleRNN", "LSTM", "GRU")  # within, and compared there


def of_keras(kind: str, settings: Mapping[str, Any], before: Any = None) -> Effects:
    """A layer of Keras's, or of one with weights, what it does to its outputs at last.

    before: the zeros around the images that it takes, and the expression that they are.
    """
    if kind == "Permute" and list(settings["dims"]) not in MOVING_CHANNELS:
        return frozenset({UNKNOWN})
    if kind in KEPT or kind.startswith("Random"):
        return NONE
    if kind in OWN_ACTIVATION:
        return NONE if settings.get("return_sequences") else frozenset({LAST_STEP})
    if kind == "Masking":
        return frozenset({UNKNOWN}) if settings.get("mask_value") else NONE
    if kind in ("GlobalMaxPooling1D", "GlobalAveragePooling1D"):
        first = settings.get("data_format") == "channels_first"
        return frozenset({UNKNOWN if first else OF_STEPS["max" if kind[6] == "M" else "mean"]})
    if kind in MERGES:
        return frozenset({MERGES[kind]})
    if kind == "TimeDistributed":
        return of_keras(settings["layer"]["class_name"], settings["layer"]["config"])
    if kind in CLASSES or kind == "Activation":
        return of_activation(settings.get("activation"), 0.2)
    if kind == "ReLU":
        return _keras_relu(settings)
    if kind == "LeakyReLU":
        return frozenset({leaky(settings.get("negative_slope", settings.get("alpha", 0.3)))})
    if kind == "ELU":
        return frozenset({elu(settings.get("alpha", 1.0))})
    if kind == "Softmax":
        return frozenset({"softmax"})
    if kind in ("MaxPooling2D", "AveragePooling2D"):
        kernel = settings["pool_size"]
        stride, same = settings.get("strides") or kernel, settings.get("padding") == "same"
        kind = "max" if kind[0] == "M" else "average"
        around = surrounding(kind, same, before or NO_ZEROS)
        return frozenset({UNKNOWN if around is None else pooling(kind, kernel, stride, around)})
    if kind in ("GlobalMaxPooling2D", "GlobalAveragePooling2D"):
        kind = "max" if kind[6] == "M" else "average"
        around = around_whole(kind, before or NO_ZEROS)
        return frozenset({UNKNOWN if around is None else f"global {kind} pooling{around}"})
    if kind == "Rescaling":
        known = rescaling(kind, settings, {})
        return frozenset({UNKNOWN}) if known is None else with_scale(NONE, *known)
    if kind == "UpSampling2D":
        size, mode = settings.get("size", [2, 2]), settings.get("interpolation", "nearest")
        return frozenset({upsampling(size, mode)})
    return frozenset({kind if kind in CHANGING else UNKNOWN})


def rescaling(
    kind: str, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray] | None:
    """(a, b) of a layer that makes a * x + b of images, one number or one for each channel.

    arrays: those that the file holds for it. None where it does something else, or isn't known.
    """
    if kind == "Rescaling":
        pair = settings.get("scale"), settings.get("offset", 0.0)
        return (
            None if any(not _is_numbers(x) for x in pair) else (_vector(pair[0]), _vector(pair[1]))
        )
    if kind != "Normalization" or settings.get("invert") or settings.get("axis") not in LAST:
        return None
    given = settings.get("mean"), settings.get("variance")
    if not all(_is_numbers(x) for x in given):
        given = arrays.get("mean"), arrays.get("variance")
        if any(x is None for x in given):
            return None
    mean, variance = map(_vector, given)
    std = np.maximum(np.sqrt(np.maximum(variance, 0)), KERAS_EPSILON)
    return 1 / std, -mean / std


LAST = (-1, 3, [-1], [3])  # axes of channels, where these come last
KERAS_EPSILON = 1e-7  # a Normalization divides by no less


def _is_numbers(value: Any) -> bool:
    flat = np.asarray(value, object).ravel().tolist() if isinstance(value, list) else [value]
    return bool(flat) and all(type(x) in (int, float) for x in flat)


def _vector(values: Any) -> np.ndarray:
    return np.asarray(values, np.float64).ravel()


def _keras_relu(settings: Mapping[str, Any]) -> Effects:
    slope = settings.get("negative_slope") or 0
    most, least = settings.get("max_value"), settings.get("threshold") or 0
    if least or (slope and most is not None):
        return frozenset({f"relu from {least} to {most} with slope {slope}"})
    return frozenset({leaky(slope) if slope else up_to(0, most)})
