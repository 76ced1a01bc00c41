"""`minidl convert` and `minidl inspect`: files of weights, and detection sets."""

import argparse
from pathlib import Path
from typing import Any

import minidl as md
from minidl.cli.arguments import add_arguments, names
from minidl.cli.boxes import open_boxes
from minidl.errors import ArgumentError

__all__ = ["add_files"]


def add_files(commands: Any) -> None:
    """Add the commands `convert` and `inspect`."""
    _add_convert(commands)
    _add_inspect(commands)


def _add_convert(commands: Any) -> None:
    convert = commands.add_parser(
        "convert",
        help="write a file of weights in another format",
        description="Write the weights of one file in another format: minidl's HDF5 (.h5), Keras\n"
        "3's (.weights.h5) or safetensors with PyTorch's names and layouts\n"
        "(.safetensors), or the whole network they are of as ONNX (.onnx). The source\n"
        "may be any of the first three, a Keras .h5 or .keras file, a checkpoint, an\n"
        ".onnx or a .caffemodel.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl convert weights.h5 weights.safetensors\n"
        "  minidl convert runs/lenet5-digits/weights.h5 lenet5.onnx --layout NCHW\n",
    )
    convert.set_defaults(run=_convert)
    convert.add_argument("source", type=Path, metavar="IN", help="known by its content")
    convert.add_argument("target", type=Path, metavar="OUT", help="its ending tells the format")
    convert.add_argument(
        "--model", metavar="NAME",
        help="the network the weights are of, such as lenet5; needed where only the network tells "
        "a layout, and to name the layers as it does",
    )  # fmt: skip
    add_arguments(convert, "what to make the network with, such as '{\"num_classes\": 7}'")
    convert.add_argument(
        "--layout", choices=("NHWC", "NCHW"),
        help="of the images that an .onnx takes (default: NHWC, as minidl)",
    )  # fmt: skip


def _add_inspect(commands: Any) -> None:
    inspect = commands.add_parser(
        "inspect",
        help="show what a file of weights, a checkpoint or a detection set holds",
        description="Show what a file of weights or a checkpoint holds: minidl's, Keras's (.h5,\n"
        ".weights.h5, .keras) or safetensors. All of it is read, and checksums are\n"
        "verified. Of a network (.onnx, .caffemodel) it shows the weights as\n"
        "minidl names and turns them. Of a detection set (Pascal VOC, COCO, YOLO, CSV, or\n"
        "minidl's HDF5) it shows images, boxes and classes, sizes, and how much boxes\n"
        "overlap.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl inspect weights.h5\n"
        "  minidl inspect boxes.csv --images images\n",
    )
    inspect.set_defaults(run=_inspect)
    inspect.add_argument(
        "file", type=Path, metavar="FILE", help="known by its content; of boxes also a folder"
    )
    inspect.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="the images of a detection set, a folder or a zip archive, if they aren't beside it",
    )
    inspect.add_argument(
        "--classes", type=names, metavar="NAME,...",
        help="the classes of a detection set, in order, if others than the file lists",
    )  # fmt: skip


def _export(options: argparse.Namespace) -> int:
    """Write the network that a file is of as ONNX."""
    from minidl import models
    from minidl.train.pretrained import trained

    model: Any
    if options.model is None:
        model = trained(options.source)
    else:
        model = models.create(options.model, weights=options.source, **options.arguments)
    md.export_onnx(model.eval(), options.target, layout=options.layout or "NHWC")
    shape = " x ".join(map(str, model.input_shape))
    print(f"{options.target}: {model.num_parameters:,} parameters, for images of {shape}")
    return 0


def _convert(options: argparse.Namespace) -> int:
    if options.target.suffix == ".onnx":
        return _export(options)
    if options.layout:
        raise ArgumentError("--layout is for a target that ends in .onnx")
    from minidl import models
    from minidl.io.convert import convert
    from minidl.io.identify import WHOLE, identify
    from minidl.io.layers import layers_of
    from minidl.io.save import format_of
    from minidl.io.weights import names_architecture, read_architecture

    form = format_of(options.target)
    own = names_architecture(options.source) and (
        form == "safetensors" or read_architecture(options.source).standard is not None
    )
    if options.model is None and (own or identify(options.source) in WHOLE):
        # whose features are ordered, and whose numbers scaled, as only the network tells
        model: Any = models.load(options.source)
        md.save_weights(model, options.target, form)
        layers = layers_of(model)
    elif options.model is None:
        layers = convert(options.source, options.target)
    else:
        model = models.create(options.model, weights=options.source, **options.arguments)
        md.save_weights(model, options.target, form)
        layers = layers_of(model)
    numbers = sum(array.size for layer in layers for array in layer.arrays.values())
    print(f"{options.target}: {len(layers)} layers, {numbers:,} numbers, format {form}")
    if lost := _lost(options.source, options.target):
        print(f"weights alone: it doesn't tell {lost}, as {options.source} does")
    return 0


def _lost(source: Path, target: Path) -> str:
    """What the file that was converted tells of its network, and the new one doesn't."""
    from minidl.constants.tasks import CLASSES
    from minidl.io.weights import names_architecture, read_architecture

    if not names_architecture(source) or names_architecture(target):
        return ""
    known = read_architecture(source)
    lost = ["which network they are of"]
    lost += ["what images it takes"] if known.image_format else []
    lost += ["the names of its classes"] if known.classes else []
    lost += [f"that it is for {known.task}, not classes"] if known.task != CLASSES else []
    return ", ".join(lost[:-1]) + " and " * (len(lost) > 1) + lost[-1]


def _inspect(options: argparse.Namespace) -> int:
    from minidl.data.detection.telling import describe, is_detection
    from minidl.io.identify import WHOLE, identify
    from minidl.io.report import inspect

    if is_detection(options.file):
        print(describe(open_boxes(options.file, options.images, options.classes)))
    elif options.images or options.classes:
        raise ArgumentError(
            f"{options.file} is no detection set, which images= and classes= are for"
        )
    else:
        of_network = identify(options.file) in WHOLE
        print(_inspect_network(options.file) if of_network else inspect(options.file))
    return 0


def _inspect_network(file: Path) -> Any:
    """What the network in a file of ONNX or Caffe's holds, as minidl names and turns it."""
    from minidl import models
    from minidl.io.identify import identify
    from minidl.io.layers import layers_of
    from minidl.io.report import Report

    facts = {"file": str(file), "size": f"{file.stat().st_size:,} bytes", "kind": identify(file)}
    return Report(facts | {"layouts": "minidl's"}, layers_of(models.load(file)))
