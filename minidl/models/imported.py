"""Networks out of files of ONNX and of Caffe's."""

import os
from typing import Any

from minidl import nn, ops
from minidl.io.caffe.importing import read_caffe, read_described
from minidl.io.guarded import MAX_BYTES
from minidl.io.onnx.importing import Parts
from minidl.models.network import Network

__all__ = ["Imported", "load_caffe", "load_prototxt"]

ENDINGS = {"Softmax": ops.softmax, "LogSoftmax": ops.log_softmax}
USUAL_SIZE = 224  # pixels, of a network that takes images of any size


class Imported(Network):
    """A network out of a file of ONNX or of Caffe's. Images come and go as (N, H, W, C).

    It gives what the file says, where that ends in a softmax probabilities. A classifier's parts
    are `features`, and `classifier` from the last pooling or flattening on; with a new head it
    gives scores, as the networks of `minidl.models` do. Of other networks `features` is all, and
    its `inputs` and `outputs` say what they take and give.
    """

    def __init__(self, parts: Parts) -> None:
        self.features, self.ending = parts.body, parts.ending
        self.classifier = nn.Identity() if parts.head is None else parts.head
        shapes = [port.shape for port in parts.body.inputs]
        shape = shapes[0] if len(shapes) == 1 else None
        size = (None,) if shape is None else shape[1:]
        if parts.body.inputs[0].channels_last if shapes else False:
            size = (*(USUAL_SIZE if n is None else n for n in size[:2]), *size[2:])
        self.input_shape = size if None not in size else ()  # type: ignore[assignment]
        self.any_size = shape is None or None in shape[1:3] or parts.head is None

    def forward(self, *inputs: Any) -> Any:
        scores = self.unnormalized(*inputs)
        return scores if self.ending is None else ENDINGS[self.ending](scores, axis=-1)

    def unnormalized(self, *inputs: Any) -> Any:
        if len(inputs) == 1:
            self.check_size(inputs[0])
        return self.classifier(self.features(*inputs))

    def replace_head(self, num_classes: int) -> "Imported":
        super().replace_head(num_classes)
        self.ending = None
        return self


def load_prototxt(
    path: str | os.PathLike[str], input_shape: tuple[int, ...] | None = None
) -> Imported:
    """Return the network that a .prototxt of Caffe's describes, with new weights.

    input_shape: (H, W, C), where the description doesn't say it or another is wanted.
    Raises FileFormatError for what minidl can't read or doesn't know.
    """
    return Imported(read_described(path, input_shape))


def load_caffe(
    path: str | os.PathLike[str],
    prototxt: str | os.PathLike[str] | None = None,
    input_shape: tuple[int, ...] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Imported:
    """Return the network of a .caffemodel; see `io.caffe.importing.read_caffe`."""
    return Imported(read_caffe(path, prototxt, input_shape, max_bytes))
