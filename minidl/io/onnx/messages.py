"""The messages of an ONNX file as plain records.

Numbers of fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Only what an importer
needs is kept; every record is counted, and every length is checked before memory is taken.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minidl.errors import FileFormatError
from minidl.io.guarded import MAX_BYTES, check_file, check_max_bytes
from minidl.io.onnx.tensors import TYPES, External, entry, read_tensor
from minidl.io.protobuf import BYTES, VARINT, fields, floats, signed, text, whole_numbers

__all__ = ["Graph", "Input", "Model", "Node", "parse_model", "read_model"]

MOST_RECORDS = 200_000  # nodes, attributes, tensors, dimensions: a ResNet-152 has about 5,000
MOST_NUMBERS = 1_000_000  # of one attribute
DEFAULT_DOMAINS = ("", "ai.onnx")
KINDS = {
    1: "float", 2: "int", 3: "string", 4: "tensor", 5: "graph", 6: "floats", 7: "ints",
    8: "strings", 9: "tensors", 10: "graphs", 11: "sparse tensor", 12: "sparse tensors",
    13: "type", 14: "types",
}  # fmt: skip
OTHER_TYPES = {4: "sequence", 5: "map", 8: "sparse tensor", 9: "optional value"}


@dataclass(frozen=True)
class Node:
    """A call of an operator. attributes: (kind, value) by name; where: the node, for errors."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, tuple[str, Any]]

    @property
    def where(self) -> str:
        outputs = ", ".join(name for name in self.outputs if name)
        named = f"node {self.name!r:.120}" if self.name else "a node without a name"
        return f"{named}, which gives {outputs or 'nothing'!s:.120}"


@dataclass(frozen=True)
class Input:
    """An input or output of the graph.

    shape: None where the file doesn't tell; an entry is a number or, where it is dynamic, a name.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int | str, ...] | None


@dataclass
class Graph:
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Input] = field(default_factory=list)
    name: str = ""


@dataclass
class Model:
    """What a file holds. opset: the version of the default domain's operators.

    metadata: what its writer noted besides, by name.
    """

    where: str
    opset: int
    producer: str
    graph: Graph
    metadata: dict[str, str]


class _Reader:
    """Reads the messages of one file. left: bytes that tensors may still take."""

    def __init__(self, where: str, folder: Path | None, max_bytes: int, hollow: bool) -> None:
        self.where, self.records = where, 0
        self.external = External(where, folder, max_bytes, hollow)

    def fields(self, message: Any, what: str) -> Iterator[tuple[int, int, Any]]:
        self.records += 1
        if self.records > MOST_RECORDS:
            raise FileFormatError(f"{self.where}: more than {MOST_RECORDS:,} nodes and tensors")
        if not isinstance(message, memoryview):
            raise FileFormatError(f"{self.where}: expected {what}, found a number")
        return fields(message, self.where)

    def text(self, value: Any) -> str:
        return text(value, self.where)

    def model(self, message: memoryview) -> Model:
        opsets: dict[str, int] = {}
        graphs: list[memoryview] = []
        metadata: dict[str, str] = {}
        producer, ir_version, functions = "", 0, 0
        for number, kind, value in self.fields(message, "a model"):
            if number == 1 and kind == VARINT:
                ir_version = value
            elif number == 2 and kind == BYTES:
                producer = self.text(value)
            elif number == 7 and kind == BYTES:
                graphs.append(value)
            elif number == 8:
                domain, version = self._opset(value)
                opsets[domain] = version
            elif number == 14 and kind == BYTES:
                metadata |= [entry(value, self.where)]
            elif number == 25:
                functions += 1
        if len(graphs) != 1 or not ir_version:
            raise FileFormatError(
                f"{self.where}: expected an ONNX model, with a version and one graph, found "
                f"{len(graphs)} graphs"
            )
        if functions:
            raise FileFormatError(
                f"{self.where}: it defines {functions} functions of its own, which minidl doesn't "
                "inline: onnx.inliner.inline_local_functions(model) does"
            )
        known = [opsets[domain] for domain in DEFAULT_DOMAINS if domain in opsets]
        graph = self.graph(graphs[0])
        return Model(self.where, max(known, default=1), producer[:80], graph, metadata)

    def _opset(self, message: Any) -> tuple[str, int]:
        domain, version = "", 0
        for number, kind, value in self.fields(message, "a set of operators"):
            if number == 1 and kind == BYTES:
                domain = self.text(value)
            elif number == 2 and kind == VARINT:
                version = value
        return domain, version

    def graph(self, message: memoryview) -> Graph:
        graph = Graph()
        for number, _, value in self.fields(message, "a graph"):
            if number == 1:
                graph.nodes.append(self._node(value))
            elif number == 2:
                graph.name = self.text(value)
            elif number == 5:
                name, array = self._tensor(value)
                graph.tensors[name] = array
            elif number == 11:
                graph.inputs.append(self._input(value))
            elif number == 12:
                graph.outputs.append(self._input(value))
            elif number == 15:
                raise FileFormatError(
                    f"{self.where}: it holds sparse tensors, which minidl doesn't read: store "
                    "them as ordinary ones"
                )
        names = {x.name for x in graph.inputs}
        if len(names) != len(graph.inputs) or "" in names | {x.name for x in graph.outputs}:
            raise FileFormatError(
                f"{self.where}: two inputs of the graph have the same name, or one has none"
            )
        return graph

    def _node(self, message: Any) -> Node:
        inputs: list[str] = []
        outputs: list[str] = []
        op, domain, name = "", "", ""
        attributes: dict[str, tuple[str, Any]] = {}
        for number, kind, value in self.fields(message, "a node"):
            if kind != BYTES:
                continue
            if number in (1, 2):
                self.records += 1
                (inputs if number == 1 else outputs).append(self.text(value))
            elif number == 3:
                name = self.text(value)
            elif number == 4:
                op = self.text(value)
            elif number == 7:
                domain = self.text(value)
            elif number == 5:
                key, attribute = self._attribute(value)
                attributes[key] = attribute
        return Node(op, domain, name, tuple(inputs), tuple(outputs), attributes)

    def _attribute(self, message: Any) -> tuple[str, tuple[str, Any]]:
        name, kind_number = "", 0
        found: dict[str, Any] = {"floats": [], "ints": [], "strings": []}
        for number, kind, value in self.fields(message, "an attribute"):
            if number == 1:
                name = self.text(value)
            elif number == 2:
                found["float"] = float(floats(kind, value, self.where)[0])
            elif number == 3 and kind == VARINT:
                found["int"] = signed(value)
            elif number == 4:
                found["string"] = self.text(value)
            elif number == 5:
                found["tensor"] = self._tensor(value)[1]
            elif number == 7:
                found["floats"] += floats(kind, value, self.where).tolist()
            elif number == 8:
                found["ints"] += map(
                    signed, whole_numbers(kind, value, self.where, MOST_NUMBERS, "as an attribute")
                )
            elif number == 9:
                found["strings"].append(self.text(value))
            elif number == 20 and kind == VARINT:
                kind_number = value
            if any(len(found[several]) > MOST_NUMBERS for several in ("floats", "ints", "strings")):
                raise FileFormatError(f"{self.where}: attribute {name!r:.80} is too long")
        kind_name = KINDS.get(kind_number) or next((k for k, v in found.items() if v != []), "ints")
        default = {"float": 0.0, "int": 0, "string": ""}.get(kind_name)
        return name, (kind_name, found.get(kind_name, default))

    def _tensor(self, message: Any) -> tuple[str, np.ndarray]:
        return read_tensor(self.fields(message, "a tensor"), self.external)

    def _input(self, message: Any) -> Input:
        name, dtype, shape = "", None, None
        for number, _, value in self.fields(message, "an input"):
            if number == 1:
                name = self.text(value)
            elif number == 2:
                for kind_of, _, type_ in self.fields(value, "a type"):
                    if kind_of in OTHER_TYPES:
                        raise FileFormatError(
                            f"{self.where}: {name!r:.80} is a {OTHER_TYPES[kind_of]}, and minidl "
                            "reads tensors only"
                        )
                    if kind_of == 1:
                        dtype, shape = self._tensor_type(type_)
        return Input(name, dtype, shape)

    def _tensor_type(self, message: Any) -> tuple[Any, tuple[int | str, ...] | None]:
        dtype, shape = None, None
        for number, kind, value in self.fields(message, "a type"):
            if number == 1 and kind == VARINT:
                dtype = TYPES.get(value)
            elif number == 2:
                dimensions = self.fields(value, "a shape")
                shape = tuple(self._dimension(part) for n, _, part in dimensions if n == 1)
        return dtype, shape

    def _dimension(self, message: Any) -> int | str:
        found: int | str = "?"
        for number, kind, value in self.fields(message, "a dimension"):
            if number == 1 and kind == VARINT and signed(value) > 0:
                found = value
            elif number == 2:
                found = self.text(value)
        return found


def read_model(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Model:
    """Return what an ONNX file holds.

    max_bytes: the most that the file and all its tensors may take in memory; external data is
    read from files beside `path` only.
    Raises FileFormatError for what is none, is damaged or larger, and OSError where the system
    refuses.
    """
    check_max_bytes(max_bytes)
    where = os.fspath(path)
    with check_file(Path(path)) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise FileFormatError(f"{where}: {size:,} bytes, more than max_bytes={max_bytes:,}")
        message = memoryview(file.read(size))
    return parse_model(message, where, Path(path).resolve().parent, max_bytes - size)


def parse_model(
    message: memoryview,
    where: str,
    folder: Path | None = None,
    max_bytes: int = MAX_BYTES,
    hollow: bool = False,
) -> Model:
    """Return what the bytes of an ONNX file say.

    folder: of its external data, None where there is none; max_bytes: for all tensors.
    hollow: tensors without numbers are of zeros.
    """
    return _Reader(where, folder, max_bytes, hollow).model(message)
