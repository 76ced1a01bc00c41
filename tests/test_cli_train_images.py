"""`minidl train` on images of one's own and on CIFAR-10."""

import re
import shutil

import numpy as np
import pytest
from command import SAVED, minidl, read_json, weights
from pictures import class_folders

from minidl import data, models
from minidl.data.images import read_image

TINY = '{"widths": [4, 6], "hidden": 8}'  # of plain_cnn
SHORT = ["--model", "plain_cnn", "--arguments", TINY, "--epochs", 2, "--batch-size", 8]
CIFAR = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with images and a small CIFAR-10."""
    folder = tmp_path_factory.mktemp("train")
    class_folders(folder / "pets", {"ant": 10, "bee": 15}, size=(40, 50))
    (folder / "cifar").mkdir()
    cifar_records(300).tofile(folder / "cifar" / "data_batch_1.bin")
    return folder


def cifar_records(rows, seed=0):
    """(rows, 3073) uint8: a label, and channels that lean towards it."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % 10
    pixels = random.integers(0, 100, (rows, 3072)) + 12 * labels[:, np.newaxis]
    return np.concatenate([labels[:, np.newaxis], pixels], axis=1).astype(np.uint8)


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pets", "cifar"):
        shutil.copytree(home / name, tmp_path / name)
    return tmp_path


def trained(*arguments, status=0):
    done = minidl("train", *arguments)
    assert done.status == status, done.err
    return done


def statistics(pixels):
    """Of each channel, of 0..1, in float64."""
    scaled = np.asarray(pixels, np.float64) / 255
    return scaled.mean(axis=(0, 1, 2)), scaled.std(axis=(0, 1, 2))


# Images of one's own


def test_a_folder_of_images(here):
    done = trained("--data", "pets", *SHORT, "--seed", 3, "-o", "out")
    assert "on pets: 18 images to train on, 2 to validate on, 5 to test on; " in done.out
    assert sorted(path.name for path in (here / "out").iterdir()) == SAVED
    model = models.load(here / "out" / "weights.h5")
    assert model.classes == ["ant", "bee"]
    assert model.num_classes == 2
    images = model.image_format
    assert (images.size, images.order, images.scale) == (32, "RGB", 255.0)
    whole = data.ImageFolder("pets", size=32)
    chosen = data.split(whole, (0.8, 0.2), 3)[0].indices
    pixels = np.stack([read_image(whole.paths[i], 32) for i in chosen])
    mean, std = statistics(pixels)
    np.testing.assert_allclose(images.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(images.std, std, rtol=1e-6)
    history = read_json(here / "out" / "history.json")
    assert [row["epoch"] for row in history["epochs"]] == [1, 2]
    results = read_json(here / "out" / "results.json")
    assert results["count"] == {"train": 18, "validation": 5, "chosen_by": 2}
    assert results["approaches"][0]["accuracy"] == pytest.approx(history["test"]["accuracy"])


def test_parts_of_the_users_own_and_a_broken_file(here):
    shutil.copytree("pets", "split/train")
    shutil.copytree("pets", "split/val")
    (here / "split" / "val" / "bee" / "02.png").write_bytes(b"no image")
    done = trained("--data", "split", *SHORT, "-o", "out")
    assert "23 images to train on, 2 to validate on, 24 to test on; " in done.out
    (skipped,) = read_json(here / "out" / "results.json")["skipped"]
    assert skipped["file"] == "val/bee/02.png"


def test_a_network_made_for_grey_images(here):
    """LeNet-5, which is the one that is trained if none is named."""
    done = trained("--data", "pets", "--epochs", 1, "-o", "out")
    assert done.out.startswith("LeNet-5 (")
    model = models.load(here / "out" / "weights.h5")
    assert (model.input_shape, model.num_classes) == ((32, 32, 3), 2)
    assert len(model.image_format.mean) == 3


def test_the_size(here):
    resnet = ["--model", "resnet20", "--data", "pets", "--epochs", 1, "-o", "out"]
    trained(*resnet, "--size", 16)
    assert models.load(here / "out" / "weights.h5").image_format.size == 16
    assert read_json(here / "out" / "settings.json")["size"] == 16


def test_augmentation_and_the_seed(here):
    def bits(*more):
        trained("--data", "pets", *SHORT, *more, "-o", "out")
        return weights(here / "out")

    plain, augmented = bits(), bits("--augment")
    assert plain == bits("--threads", 1)
    assert augmented == bits("--augment")
    assert plain != augmented
    assert plain != bits("--seed", 1)


def test_where_it_is_saved_by_default(here, monkeypatch):
    monkeypatch.chdir(here / "pets")
    trained("--data", ".", *SHORT)
    assert (here / "pets" / "runs" / "plain_cnn-pets" / "weights.h5").exists()


# Layouts that people have, and what is told of them


def classes_told(out):
    """{class: numbers} of the table that is printed before training."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("class "))
    heads, rows = lines[start].split()[1:], {}
    for line in lines[start + 1 :]:
        name, *numbers = line.rsplit(maxsplit=len(heads))
        if len(numbers) != len(heads) or not all(number.isdecimal() for number in numbers):
            break
        rows[name] = dict(zip(heads, map(int, numbers), strict=True))
    return rows


@pytest.mark.parametrize("other", ["test", "Testing", "valid"])
def test_train_and_another_part(here, other):
    shutil.copytree(here / "pets", here / "split" / "train")
    class_folders(here / "split" / other, {"ant": 3, "bee": 4}, size=(40, 50))
    (here / "split" / "train" / "ant" / "x.heic").write_bytes(b"")
    (here / "split" / "train" / "ant" / "y.heic").write_bytes(b"")
    done = trained("--data", "split", *SHORT, "-o", "out")
    assert classes_told(done.out) == {
        "ant": {"train": 9, "validation": 1, "test": 3},
        "bee": {"train": 14, "validation": 1, "test": 4},
    }
    assert (
        "passed over: 2\n  2 no image by its suffix, .heic (such as train/ant/x.heic)" in done.out
    )
    assert done.out.index("passed over") < done.out.index("epoch   1")
    skipped = read_json(here / "out" / "results.json")["skipped"]
    assert [each["file"] for each in skipped] == ["train/ant/x.heic", "train/ant/y.heic"]
    assert models.load(here / "out" / "weights.h5").classes == ["ant", "bee"]


def test_flat_names_a_table_an_npz_and_a_built_file_give_the_same_counts(here):
    for i, path in enumerate(sorted((here / "pets").rglob("*.png"))):
        (here / "flat").mkdir(exist_ok=True)
        shutil.copy(path, here / "flat" / f"{path.parent.name}.{i}.png")
    names = sorted(path.name for path in (here / "flat").iterdir())
    (here / "t").mkdir()
    table = here / "t" / "any.csv"
    table.write_text("which,what\n" + "".join(f"../flat/{n},{n[:3]}\n" for n in names))
    (here / "t" / "two.csv").write_text(
        "id,kind,colour\n" + "".join(f"../flat/{n},{n[:3]},red\n" for n in names)
    )
    images = data.ImageFolder("pets", size=32)
    pixels, labels = images.batch(range(len(images)))
    np.savez("pets.npz", images=pixels, labels=np.array(images.classes)[labels])
    assert minidl("build", "flat", "built.h5", "--size", 32).status == 0
    told = {
        "ant": {"train": 7, "validation": 1, "test": 2},
        "bee": {"train": 11, "validation": 1, "test": 3},
    }
    for given in (["flat"], [table], ["pets.npz"], ["built.h5"]):
        done = trained("--data", *given, *SHORT, "-o", "out")
        assert classes_told(done.out) == told, given
    refused = trained("--data", "t/two.csv", *SHORT, "-o", "out", status=2)
    assert refused.err.endswith("found id, kind, colour: name it with --label-column\n")
    done = trained("--data", "t/two.csv", "--label-column", "kind", *SHORT, "-o", "out")
    assert classes_told(done.out) == told


def test_mistakes_on_a_built_file_have_the_files_names(here):
    done = minidl("build", "pets", "pets.h5", "--size", 32, "--split", "0.6,0.4")
    assert classes_told(done.out)["bee"] == {"train": 9, "validation": 6}
    trained("--data", "pets.h5", *SHORT, "-o", "out")
    wrong = read_json(here / "out" / "results.json")["mistakes"]
    assert wrong
    with data.HDF5Dataset("pets.validation.h5") as rows:
        names = {rows.name(i) for i in range(len(rows))}
    assert {each["file"] for each in wrong} <= names
    assert all((here / "pets" / name).is_file() for name in names)
    for each in wrong:
        assert each["file"].startswith(each["truth"])


def test_built_files_that_do_not_belong_together(here):
    class_folders(here / "others", {"ant": 3, "cat": 3}, size=(40, 50))
    minidl("build", "pets", "x.train.h5", "--size", 32)
    minidl("build", "others", "x.validation.h5", "--size", 32)
    refused = trained("--data", "x.h5", *SHORT, "-o", "out", status=2)
    assert "has the classes ant, cat, and the training part ant, bee" in refused.err


def test_a_class_that_cannot_be_read(here):
    for path in (here / "pets" / "ant").iterdir():
        path.write_bytes(b"")
    refused = trained("--data", "pets", *SHORT, "-o", "out", status=2)
    assert "none of the images of class 'ant' can be read" in refused.err
    done = minidl("build", "pets", "pets.h5", "--size", 32)
    assert "no image of class 'ant' could be read" in done.out
    refused = trained("--data", "pets.h5", *SHORT, "-o", "out", status=2)
    assert "no image to train on that is of class ant" in refused.err


def test_a_second_run_in_the_folder_of_the_data(here, monkeypatch):
    monkeypatch.chdir(here / "pets")
    for _ in range(2):
        done = trained("--data", ".", *SHORT)
        assert list(classes_told(done.out)) == ["ant", "bee"]


# CIFAR-10


def test_cifar10(here):
    done = trained("--data", "cifar10", "--data-dir", "cifar", *SHORT, "--augment", "-o", "out")
    assert "216 images to train on, 24 to validate on, 60 to test on; " in done.out
    model = models.load(here / "out" / "weights.h5")
    assert model.classes == CIFAR
    assert model.image_format.size == 32
    assert read_json(here / "out" / "settings.json")["augment"] is True
    rows = read_json(here / "out" / "results.json")["approaches"][0]["per_class"]
    assert [row["count"] for row in rows] == [6] * 10


def test_strong_augmentation(here):
    more = ["--augment", "--rand-augment", "9", "--mixup", "0.2", "--cutmix", "1"]
    for folder in ("a", "b"):
        trained("--data", "cifar10", "--data-dir", "cifar", *SHORT, *more, "-o", folder)
    settings = read_json(here / "a" / "settings.json")
    assert [settings[name] for name in ("rand_augment", "mixup", "cutmix")] == [9, 0.2, 1]
    first, again = (models.load(here / folder / "weights.h5").state_dict() for folder in "ab")
    assert all((first[name] == again[name]).all() for name in first)
    trained("--data", "cifar10", "--data-dir", "cifar", *SHORT, "--augment", "-o", "c")
    other = models.load(here / "c" / "weights.h5").state_dict()
    assert any((first[name] != other[name]).any() for name in first)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rand-augment", "9"], "add --augment"),
        (["--augment", "--rand-augment", "9"], "is for photographs, not digits"),
        (["--data", "cifar10", "--augment", "--rand-augment", "31"], "must be from 1 to 30"),
        (["--mixup", "-1"], "argument --mixup: must be a number from 0 up, got -1"),
    ],
)
def test_augmentation_that_cannot_be(options, said):
    done = minidl("train", *options)
    assert done.status == 2
    assert said in done.err


def test_cifar10_with_its_test_batch(here):
    cifar_records(40, seed=1).tofile(here / "cifar" / "test_batch.bin")
    done = trained("--data", "cifar10", "--data-dir", "cifar", *SHORT, "-o", "out")
    assert "270 images to train on, 30 to validate on, 40 to test on; " in done.out
    images = models.load(here / "out" / "weights.h5").image_format
    pixels = cifar_records(300)[:, 1:].reshape(300, 3, 32, 32)  # (N, C, H, W)
    mean, std = statistics(pixels.transpose(0, 2, 3, 1))  # (N, H, W, C)
    np.testing.assert_allclose([images.mean, images.std], [mean, std], rtol=1e-6)


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nothing"], "there is no nothing"),
        (["--data", "cifar10"], r"cifar10: there is no folder data.cifar10"),
        (["--data", "cifar10", "--size", "16"], "--size is for images of your own: cifar10 has .*"),
        (["--data", "pets", "--data-dir", "cifar"], "--data-dir is for MNIST and CIFAR-10: .*"),
        (["--data", "pets", "--download"], "--download is for MNIST: .*"),
        (["--data", "cifar"], r"minidl .*|.*"),
    ],
)
def test_errors(arguments, message, here):
    if arguments == ["--data", "cifar"]:
        (here / "cifar" / "data_batch_1.bin").write_bytes(b"cut off")
        message = r"cifar.data_batch_1\.bin: expected records of 3073 bytes, found 7 bytes: .*"
    done = minidl("train", *arguments, "-o", "out")
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(f"minidl train: {message}\n", done.err), done.err
    assert not (here / "out").exists()
