"""Captions from files, their words, and what is refused."""

import json

import numpy as np
import pytest

from minidl.apps import caption
from minidl.apps.caption.vocabulary import END, PAD, START, UNKNOWN
from minidl.errors import ArgumentError, FileFormatError

TEXTS = {"a.jpg": ["A dog runs .", "The dog, it runs!"], "b.jpg": ["Two cats"]}


def table(path, between=",", head="image,n,caption"):
    def cell(text):
        return f'"{text}"' if between in text else text

    rows = [between.join((name, str(i), cell(text)))
            for name, texts in TEXTS.items() for i, text in enumerate(texts)]  # fmt: skip
    path.write_text("\n".join([head.replace(",", between), *rows]) + "\n")


def tokens(path):
    path.write_text(
        "\n".join(f"{n}#{i}\t{t}" for n, texts in TEXTS.items() for i, t in enumerate(texts))
    )


def coco(path):
    images = [{"id": 10 * i, "file_name": name} for i, name in enumerate(TEXTS)]
    said = [{"image_id": 10 * i, "caption": text}
            for i, texts in enumerate(TEXTS.values()) for text in texts]  # fmt: skip
    path.write_text(json.dumps({"images": images, "annotations": said}))


@pytest.mark.parametrize(
    "write",
    [
        table, tokens, coco, lambda path: table(path, "|", "image_name,comment_number,comment"),
        lambda path: table(path, "\t", "file_name,n,text"),
    ],
)  # fmt: skip
def test_files_of_all_kinds(write, tmp_path):
    write(tmp_path / "captions")
    found = caption.read_captions(tmp_path / "captions")
    assert dict(zip(found.images, found.captions, strict=True)) == TEXTS


BROKEN = {
    "": "no caption in it",
    "image,caption\n": "no caption in it",
    "a,b\n1,2\n": "line 1: expected a column of images .image. and one of captions .caption., got",
    "image,caption,text\na,b,c\n": "line 1: expected a column of images",
    "image,caption\na.jpg,\n": "line 2: an empty caption of a.jpg",
    "image,caption\n,dogs\n": "line 2: an image without a name",
    "image,n,caption\na.jpg,0,dogs\nb.jpg,1\n": "line 3: expected 3 cells, got 2",
    "a.jpg#0\tdogs\nb.jpg cats\n": "line 2: expected NAME#0<tab>caption",
    "a.jpg#0\tdogs\nb.jpg#0\t \n": "line 2: an empty caption of b.jpg",
    "{": "its JSON is broken",
    "[1]": "expected COCO's lists",
    '{"images": [{"id": 1}], "annotations": []}': r'images\[0\]: expected "id" and a text',
    '{"images": [], "annotations": [{"image_id": 1, "caption": "a"}]}': r"annotations\[0\]: there "
    "is no image with the id 1",
    '{"images": [], "annotations": [{"image_id": [], "caption": "a"}]}': 'expected "image_id" and',
}


@pytest.mark.parametrize("text", BROKEN)
def test_broken_files(text, tmp_path):
    (tmp_path / "c").write_text(text)
    with pytest.raises(FileFormatError, match=BROKEN[text]):
        caption.read_captions(tmp_path / "c")


def test_images_that_are_not_there(tmp_path):
    table(tmp_path / "c.csv")
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ArgumentError, match=r"captions of 1 images that .* such as b\.jpg"):
        caption.read_captions(tmp_path / "c.csv", tmp_path)
    (tmp_path / "b.jpg").touch()
    assert caption.read_captions(tmp_path / "c.csv", tmp_path).images == ["a.jpg", "b.jpg"]
    (tmp_path / "c.csv").write_text("image,caption\n../a.jpg,dogs\n")
    with pytest.raises(FileFormatError, match=r"names of images in a folder, got '\.\./a\.jpg'"):
        caption.read_captions(tmp_path / "c.csv", tmp_path)
    (tmp_path / "c.csv").write_bytes(b"image,caption\na.jpg,\xff\n")
    with pytest.raises(FileFormatError, match="text in UTF-8"):
        caption.read_captions(tmp_path / "c.csv")


def test_words():
    found = caption.words_of("A man's T-shirt \u2014 isn\u2019t it RED, in 1999?")
    assert found == ["a", "man's", "t-shirt", "isn't", "it", "red", "in", "1999"]
    assert caption.words_of(" . ! ") == []


def test_vocabulary():
    said = [caption.words_of(text) for texts in TEXTS.values() for text in texts]
    known = caption.Vocabulary.of(said, least=2)
    assert known.words[4:] == ["dog", "runs"]
    numbers = known.numbers(["a", "dog", "runs"])
    assert numbers.dtype == np.int64
    assert numbers.tolist() == [START, UNKNOWN, 4, 5, END]
    assert known.text([START, 4, PAD, 5, END, 4]) == ["dog", "runs"]
    assert len(known) == 6
    every = caption.Vocabulary.of(said, least=1)
    assert every.words[4:6] == ["dog", "runs"]
    assert every.words[6:] == sorted(every.words[6:])
    with pytest.raises(ArgumentError, match="no word is there 9 times"):
        caption.Vocabulary.of(said, least=9)
    with pytest.raises(ArgumentError, match="'dog' is in it twice"):
        caption.Vocabulary(["dog", "cat", "dog"])


def test_a_thousand_photographs(shared_data):
    """One caption of everything scores as the set's README tells; people score far more."""
    found = caption.read_captions(shared_data / "flickr8k_1000" / "captions.csv")
    assert len(found.images) == 1000
    assert {len(texts) for texts in found.captions} == {5}
    test = [[caption.words_of(text) for text in texts] for texts in found.captions[9::10]]
    constant = ["a", "dog", "is", "running", "through", "the", "grass"]
    scores = caption.bleu([constant] * 100, test)
    # That README's words differ a little, in what a hyphen does
    assert [100 * score for score in scores] == pytest.approx([38.3, 16.4, 7.8, 4.2], abs=0.15)
    people = caption.bleu([texts[0] for texts in test], [texts[1:] for texts in test])
    assert people[3] > 0.15
