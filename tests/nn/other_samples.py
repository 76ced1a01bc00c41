"""The tables of layer_samples for all layers that aren't convolutions, and for the losses."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from layer_samples import (
    CONVOLUTIONS, PADDINGS, Case, ErrorCase, LayerInfo, bytes_, distinct, exactly, float32, nonzero,
    normal, uniform, window_errors, with_,
)  # fmt: skip

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, ShapeError

no_images = ErrorCase(with_(2), ShapeError, r"\(N, H, W, C\).* got shape \(6, 6, 3\)", [float32(6, 6, 3)])
