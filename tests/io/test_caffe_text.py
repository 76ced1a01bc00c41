"""Protocol Buffers' text format: what is read, and what is refused with its line."""

import pytest

from minidl import models
from minidl.errors import FileFormatError
from minidl.io.caffe import text
from minidl.io.identify import PROTOTXT, identify


def fields(content):
    return text.parse(content, "net.prototxt").fields


def test_written_messages_read_the_same():
    first = text.parse(
        'a: 1 a: -2.5e-3 b: "\\"q\\\\ \\n \\001 é" c: MAX d { e: true f: inf } d { }',
        "net.prototxt",
    )
    again = text.parse(text.written(first), "net.prototxt")
    assert again.fields.keys() == first.fields.keys()
    assert all(again.fields[key] == first.fields[key] for key in "abc")
    assert [type(v) for v in again.all("c")] == [text.Word]
    assert [m.fields for m in again.all("d")] == [m.fields for m in first.all("d")]


def test_values():
    found = fields(
        """
    a: 1 a: -2  b: 1.5e-3, c: 'it''s'; d: "a\\n\\"b\\x41\\101"  e: MAX # a: 5
    f: [1, 2, 3] g { h: true } g: < h: false > i: 0x10 j: 010 k: 1.f m: - 4 "n"
    """.replace('"n"', "")
    )
    assert found["a"] == [1, -2]
    assert found["b"] == [1.5e-3]
    assert found["c"] == ["its"]
    assert found["d"] == ['a\n"bAA']
    assert found["e"] == ["MAX"]
    assert found["f"] == [1, 2, 3]
    assert [inner.flag("h", False) for inner in found["g"]] == [True, False]
    assert (found["i"], found["j"], found["k"], found["m"]) == ([16], [8], [1.0], [-4])


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("a: 1\nb 2", "line 2: expected b: or b {"),
        ("a: {", "line 1: expected the name of a field, found ''"),
        ("a { b: 1 }\n}", "line 2: expected the name"),
        ("a { b: 1 >", "line 1: expected the name"),
        ("a: 'b\n'", "line 1: found"),
        ("a: 1x2", "expected a number, found '1x2'"),
        ("a: " + "9" * 100, "a number of 100 characters"),
        ("a:", "expected a value of a"),
        ("a: [1 2]", "expected , or ]"),
        ("a: \x00", "line 1: found"),
        ("a {" * 40, "more than 32 deep"),
    ],
)
def test_refused_texts(content, match):
    with pytest.raises(FileFormatError, match=match):
        fields(content)


def test_caps(monkeypatch, tmp_path):
    monkeypatch.setattr(text, "MOST_FIELDS", 10)
    for content in ("a: 1 " * 11, "a: [" + "1, " * 11 + "1]", "a { b: 1 } " * 6):
        with pytest.raises(FileFormatError, match="more than 10"):
            fields(content)
    monkeypatch.setattr(text, "MOST_BYTES", 20)
    path = tmp_path / "net.prototxt"
    path.write_text('name: "a network of more bytes than that"')
    with pytest.raises(FileFormatError, match="more than 20 bytes"):
        models.load(path)


def test_known_by_content(tmp_path):
    path = tmp_path / "x"
    for content in (
        'name: "LeNet"',
        "# of 2014\n\n  layer {",
        "input_dim: 3",
        "#" * 9000 + "\nlayers{",
    ):
        path.write_text(content)
        assert identify(path) == PROTOTXT
    path.write_bytes(b'name: "\xff"')
    with pytest.raises(FileFormatError, match="UTF-8"):
        models.load(path)
    path.write_text("names: 3")
    with pytest.raises(FileFormatError, match=r"\.caffemodel, \.prototxt\), found"):
        models.load(path)
