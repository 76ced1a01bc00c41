"""TensorFlow.js's manifests: written here, damaged, and real ones."""

import json

import numpy as np
import pytest

from minidl.errors import FileFormatError
from minidl.io.tfjs import read_tfjs


def written(folder, weights, content, paths=("w.bin",)):
    path = folder / "weights_manifest.json"
    path.write_text(json.dumps([{"weights": weights, "paths": list(paths)}]))
    for i, name in enumerate(paths):  # the bytes go on from file to file
        share = -(-len(content) // len(paths))
        (folder / name).write_bytes(content[i * share : (i + 1) * share])
    return path


def weight(name="w", shape=(2, 3), dtype="float32", quantized=None):
    """quantized: dtype, scale and min of the numbers in the file."""
    found = {"name": name, "shape": list(shape), "dtype": dtype}
    if quantized:
        found["quantization"] = dict(zip(("dtype", "scale", "min"), quantized, strict=True))
    return found


def test_numbers_of_all_kinds(tmp_path):
    """Across two files, cut where an array isn't over."""
    plain = np.arange(6, dtype="<f4").reshape(2, 3) - 2.5
    small = np.array([0, 1, 255], np.uint8)
    wide = np.array([0, 65535], "<u2")
    path = written(
        tmp_path,
        [
            weight("plain"),
            weight("small", (3,), quantized=("uint8", 0.5, -1.25)),
            weight("wide", (2,), quantized=("uint16", 0.001, 3)),
            weight("whole", (3,), "int32", ("uint8", 1, -1)),
            weight("one", (), "int32"),
            weight("none", (0, 4)),
        ],
        plain.tobytes() + small.tobytes() + wide.tobytes() + small.tobytes() + b"\7\0\0\0",
        ("a.bin", "b.bin"),
    )
    found = read_tfjs(path)
    np.testing.assert_array_equal(found["plain"], plain)
    np.testing.assert_array_equal(found["small"], np.float32([-1.25, -0.75, 126.25]))
    np.testing.assert_allclose(found["wide"], [3, 68.535], rtol=1e-6)
    assert found["whole"].tolist() == [-1, 0, 254]
    assert (found["one"].shape, int(found["one"]), found["none"].shape) == ((), 7, (0, 4))
    kinds = {name: str(array.dtype) for name, array in found.items()}
    assert kinds == {name: "int32" if name in ("whole", "one") else "float32" for name in kinds}


GROUP = {"weights": [weight()], "paths": ["w.bin"]}


def with_weight(**changed):
    return [{**GROUP, "weights": [{**weight(), **changed}]}]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("{", "expected a manifest in JSON"),
        ("[" * 100_000, "expected a manifest in JSON"),
        ("[]", "a list of groups"),
        ({"weights": []}, "a list of groups"),
        ([[]], "a group with paths and weights"),
        ([{"weights": {}, "paths": []}], "a group with paths and weights"),
        (with_weight(name=None), "without a name"),
        (with_weight(shape=[2, -3]), "a negative length"),
        (with_weight(shape=[2, 1.5]), "whole numbers"),
        (with_weight(shape=[True]), "whole numbers"),
        (with_weight(shape=[1] * 40), "expected a shape"),
        (with_weight(dtype="float64"), "expected float32 or int32, found 'float64'"),
        (with_weight(shape=[2**36]), "more than .* max_bytes="),
        (with_weight(shape=[2**62, 2**62]), "too many numbers"),
        (with_weight(shape=[0, 10**30]), "too many numbers"),
        (with_weight(shape=[10**4000, 10**4000]), "too many numbers"),
        (with_weight(shape=[10**6]), "should have 4,000,000 bytes, but has 24"),
        (with_weight(shape=[1]), "should have 4 bytes, but has 24"),
        (with_weight(quantization={"dtype": "int8", "scale": 1, "min": 0}), "a quantization of"),
        (with_weight(quantization={"dtype": "uint8", "scale": 1e999, "min": 0}), "finite"),
        (with_weight(quantization={"dtype": "uint8", "scale": 1}), "finite"),
        (with_weight(quantization={"dtype": "uint8", "scale": 10**400, "min": 0}), "finite"),
        (
            with_weight(shape=[24], quantization={"dtype": "uint8", "scale": 3e38, "min": 0}),
            r"numbers up to 7\.65e\+40 don't fit in float32",
        ),
        (
            with_weight(
                shape=[24], dtype="int32", quantization={"dtype": "uint8", "scale": 1e9, "min": 0}
            ),
            r"numbers up to 2\.55e\+11 don't fit in int32",
        ),
        (with_weight(quantization=3), "a quantization of"),
        (with_weight(quantization={"dtype": {}, "scale": 1, "min": 0}), "a quantization of"),
        (with_weight(dtype=[]), r"expected float32 or int32, found \[\]"),
        ([GROUP, GROUP], "two arrays have the same name"),
        ([{**GROUP, "paths": ["../w.bin"]}], "the name of a file beside it, found '../w.bin'"),
        ([{**GROUP, "paths": ["/etc/passwd"]}], "the name of a file beside it"),
        ([{**GROUP, "paths": ["link.bin"]}], "the name of a file beside it, found 'link.bin'"),
        ([{**GROUP, "paths": [".."]}], "the name of a file beside it"),
        ([{**GROUP, "paths": ["w\ud800.bin"]}], "the name of a file beside it"),
        ([{**GROUP, "paths": [5]}], "the name of a file beside it"),
    ],
)
def test_what_is_refused(tmp_path, manifest, said):
    folder = tmp_path / "net"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(24))
    (folder / "w.bin").write_bytes(bytes(24))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    path = folder / "manifest.json"
    path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    with pytest.raises(FileFormatError, match=said):
        read_tfjs(path)


@pytest.mark.parametrize("number", [np.nan, -np.inf])
def test_numbers_that_are_none(tmp_path, number):
    path = written(tmp_path, [weight()], np.float32([1, 2, 3, 4, 5, number]).tobytes())
    with pytest.raises(FileFormatError, match="'w' holds NaN or infinity"):
        read_tfjs(path)


def test_too_large(tmp_path):
    path = written(tmp_path, [weight()], bytes(24))
    assert read_tfjs(path, max_bytes=24)["w"].shape == (2, 3)
    with pytest.raises(FileFormatError, match="1 arrays of 24 bytes"):
        read_tfjs(path, max_bytes=23)


def test_a_missing_file_is_the_systems_error(tmp_path):
    path = written(tmp_path, [weight()], bytes(24))
    (tmp_path / "w.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"w\.bin"):
        read_tfjs(path)


def test_real_files(shared_data):
    """The counts that its README gives, and the priors' first place: a corner of the image."""
    arrays = read_tfjs(shared_data / "faceapi/ssd_mobilenetv1_model-weights_manifest.json")
    assert arrays["Output/extra_dim"].shape == (1, 5118, 4)
    assert sum(a.size for a in arrays.values()) > 5_500_000
    # Table 1 of SSD in TensorFlow's form: three priors at the centre of the first of 32 places
    centre = arrays["Output/extra_dim"][0, :3].reshape(3, 2, 2).mean(axis=1)
    np.testing.assert_allclose(centre, 1 / 64, atol=1e-6)
