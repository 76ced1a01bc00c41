"""Small detection sets of the tests' own making, as files of each format."""

import json

import numpy as np
from pictures import picture, save

# image -> (class, x1, y1, x2, y2) of each box; c.png is background
BOXES = {
    "a.png": [("cat", 1, 2, 11, 12), ("dog", 5.5, 0, 20, 19)],
    "b.png": [("dog", 0, 0, 30, 20)],
    "c.png": [],
}
HEAD = "image,xmin,ymin,xmax,ymax,label"
YAMLS = [
    "names: [cat, 'dog']\n", "nc: 2\nnames:\n- cat\n- dog\n", "names:\n  0: cat\n  1: dog\nnc: 2\n",
    "train: images\nnames: ['cat',\n  \"dog\"]  # two\n", "names: {0: cat, 1: dog}\n",
]  # fmt: skip


def pictures(folder, names=("a.png", "b.png", "c.png"), size=(20, 30)):
    """Image files in a folder."""
    for i, name in enumerate(names):
        save(folder / name, picture(*size, seed=i))


def table(folder, *rows, head=HEAD, name="boxes.csv"):
    """A table of these rows, beside the images; returns its path."""
    (folder / name).write_text("\n".join([*([head] if head else []), *rows]) + "\n")
    return folder / name


def whole_table(folder, **how):
    rows = [
        ",".join(map(str, (name, *corners, label)))
        for name, boxes in BOXES.items()
        for label, *corners in boxes
    ]
    return table(folder, *rows, "c.png,,,,,", **how)


def coco(folder, name="boxes.json", ids=(1, 7), **changes):
    """COCO's file of BOXES, its categories with the numbers `ids`."""
    number = dict(zip(("cat", "dog"), ids, strict=True))
    document = {
        "images": [
            {"id": i, "file_name": each, "width": 30, "height": 20} for i, each in enumerate(BOXES)
        ],
        "annotations": [
            {"id": 10 * i + j, "image_id": i, "category_id": number[label], "iscrowd": 0,
             "bbox": [x1, y1, x2 - x1, y2 - y1], "area": 7.0}
            for i, boxes in enumerate(BOXES.values())
            for j, (label, x1, y1, x2, y2) in enumerate(boxes)
        ],
        "categories": [{"id": number[each], "name": each} for each in number],
    }  # fmt: skip
    (folder / name).write_text(json.dumps(document | changes))
    return folder / name


def xml(name="a.png", boxes=None, size=(30, 20), database="Unknown", more=""):
    """Pascal VOC's annotation of one image."""
    objects = "".join(
        f"<object><name>{label}</name><difficult>{int(i == 1)}</difficult><bndbox>"
        f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>\n"
        for i, (label, x1, y1, x2, y2) in enumerate(BOXES[name] if boxes is None else boxes)
    )
    return (
        f"<annotation>\n<filename>{name}</filename><source><database>{database}</database></source>"
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>\n"
        f"{objects}{more}</annotation>"
    )


def voc(folder):
    """Pascal VOC's folders: Annotations and JPEGImages."""
    (folder / "Annotations").mkdir()
    for name in BOXES:
        (folder / "Annotations" / name).with_suffix(".xml").write_text(xml(name))
    pictures(folder / "JPEGImages")
    return folder


def yolo(folder, names="cat\ndog\n"):
    """YOLO's folders: labels and images; background has no file."""
    (folder / "labels").mkdir(parents=True)
    for name, boxes in BOXES.items():
        lines = [
            f"{int(label == 'dog')} {(x1 + x2) / 60} {(y1 + y2) / 40} {(x2 - x1) / 30} "
            f"{(y2 - y1) / 20}"
            for label, x1, y1, x2, y2 in boxes
        ]
        if boxes:
            (folder / "labels" / name).with_suffix(".txt").write_text("\n".join(lines))
    if names:
        (folder / "classes.txt").write_text(names)
    pictures(folder / "images")
    return folder


def told(detection):
    """What a set holds, to compare: image -> boxes as in BOXES."""
    found = {}
    for name, target in zip(detection.names, detection.targets, strict=True):
        rows = zip(target["labels"], np.round(target["boxes"], 4).tolist(), strict=True)
        found[name.rpartition("/")[2]] = [
            (detection.classes[label], *corners) for label, corners in rows
        ]
    return dict(sorted(found.items()))
