"""What annotation files tell of images, before it is checked against the images themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Annotated", "Box", "Found"]


@dataclass
class Box:
    """One object: its corners, its class by name, and where the file tells it.

    corners: x1, y1, x2, y2, in pixels; shares of the image's width and height where the format
        has those (`Found.shares`).
    place: such as "boxes.csv: row 17", for errors.
    area: of the object's outline where the file tells it, in square pixels.
    """

    corners: tuple[float, float, float, float]
    label: str
    place: str
    difficult: bool = False
    crowd: bool = False
    area: float | None = None


@dataclass
class Annotated:
    """What a file tells of one image.

    name: the image's file, as it is written there.  size: (H, W), where it is told.
    part: "train", "validation", "test", or None where the image isn't put into a part.
    """

    name: str
    place: str
    boxes: list[Box] = field(default_factory=list)
    size: tuple[int, int] | None = None
    part: str | None = None


@dataclass
class Found:
    """All that annotation files tell.

    path: what was read.  kind: the format's name.
    classes: their names in the order of their labels, where the files list them.
    folders: where the images may be, the likeliest first.
    shares: whether corners are shares of the image's size instead of pixels.
    by_part: the folders of each part, where parts have their own.
    """

    path: Path
    kind: str
    images: list[Annotated]
    folders: Sequence[Path]
    classes: list[str] | None = None
    shares: bool = False
    by_part: dict[str | None, Sequence[Path]] = field(default_factory=dict)
