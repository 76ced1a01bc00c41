"""What a file holds, for people: the command `minidl inspect`."""

import json
import os
from dataclasses import dataclass
from typing import Any

from minidl.io.foreign import read_file
from minidl.io.guarded import MAX_BYTES
from minidl.io.identify import MINIDL, identify
from minidl.io.layers import Layer
from minidl.io.sealed import open_sealed, read_verified
from minidl.io.weights import FORMAT, FORMATS, entries
from minidl.text import table

__all__ = ["Report", "inspect"]


@dataclass
class Report:
    """facts: such as {"written by": "Keras 2.8.0"}.  layers: with all their arrays."""

    facts: dict[str, str]
    layers: list[Layer]

    def __str__(self) -> str:
        return "\n\n".join([table(self.facts.items(), left=2), self._arrays(), self._totals()])

    def _arrays(self) -> str:
        rows = [("layer", "kind", "array", "shape", "type")]
        for layer in self.layers:
            first = (layer.name or "(the model itself)", layer.kind)
            for role, array in layer.arrays.items():
                shape = " x ".join(map(str, array.shape)) or "one number"
                rows.append((*first, role, shape, array.dtype.name))
                first = ("", "")
        return table(rows, left=5)

    def _totals(self) -> str:
        kinds: dict[str, list[int]] = {}
        for layer in self.layers:
            counted = kinds.setdefault(layer.kind, [0, 0, 0])
            for i, value in enumerate((1, *_sizes(layer))):
                counted[i] += value
        rows: list[tuple[str, ...]] = [("kind", "layers", "numbers", "bytes")]
        rows += [(kind, *map("{:,}".format, counted)) for kind, counted in kinds.items()]
        total = [sum(column) for column in zip(*kinds.values(), strict=True)] or [0, 0, 0]
        rows.append(("total", *map("{:,}".format, total)))
        return table(rows)


def _sizes(layer: Layer) -> tuple[int, int]:
    arrays = layer.arrays.values()
    return sum(array.size for array in arrays), sum(array.nbytes for array in arrays)


def inspect(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Report:
    """What a file of weights or a checkpoint holds; all of it is read, and verified.

    Raises as `md.load_weights` does.
    """
    kind = identify(path)
    facts = {"file": os.fspath(path), "size": f"{os.path.getsize(path):,} bytes"}
    if kind == MINIDL:
        facts |= _own_facts(path, max_bytes)
        found = read_file(path, max_bytes)
    else:
        found = read_file(path, max_bytes)
        layouts = "PyTorch's (out first)" if found.torch else "Keras's, which are minidl's"
        facts |= {"kind": kind, "written by": found.writer, "layouts": layouts}
    return Report(facts, found.layers)


def _own_facts(path: str | os.PathLike[str], max_bytes: int) -> dict[str, str]:
    with open_sealed(path, FORMATS, max_bytes) as (kind, file):
        under = "/" if kind == FORMAT else "/model"
        facts: dict[str, Any] = {
            "kind": f"{kind}, version {file.attribute('format_version')}",
            "written by": f"minidl {file.attribute('minidl_version')}",
            "checksums": "right",
        }
        datasets = file.datasets()
        weights = {name for name, _ in entries(file, kind).values()}  # `read_file` verifies those
        for name in datasets.keys() - weights - {"document"}:
            read_verified(file, name)
        if under.strip("/") in ("", *(name.partition("/")[0] for name in datasets)):
            architecture = file.attribute("architecture", of=under)
            if architecture is not None:
                arguments = json.loads(str(file.attribute("arguments", of=under)))
                given = ", ".join(f"{name}={value!r:.80}" for name, value in arguments.items())
                facts["architecture"] = f"models.{architecture}({given})"
        if "document" in datasets:
            held = json.loads(read_verified(file, "document").tobytes())["holds"]
            facts["holds"] = ", ".join(sorted(held))
            extra = [n for n in datasets if n.startswith("state/")]
            total = sum(datasets[name].cost for name in extra)
            facts["states"] = f"{len(extra)} arrays, {total:,} bytes"
    return facts
