"""`minidl inspect`, over every kind of file."""

import re

import pytest
from converting import ENDINGS, keras_net, net, run

import minidl as md
from minidl import models, nn, optim

pytest.importorskip("safetensors.numpy", reason="needs the extra interop")


def rows_of(out):
    """{(layer, kind): {array: shape and type}} of the table that `inspect` prints."""
    table, kinds, owner = out.split("\n\n")[1].splitlines()[1:], {}, None
    for line in table:
        words = re.split(r" {2,}", line.strip())
        if not line.startswith(" "):
            owner = tuple(words[:2])
            words = words[2:]
        kinds.setdefault(owner, {})[words[0]] = " ".join(words[1:])
    return kinds


@pytest.mark.parametrize("ending", [*ENDINGS, ".checkpoint"])
def test_inspect_shows_every_array_with_its_shape(ending, tmp_path, capsys):
    model, path = net(), tmp_path / f"x{ending}"
    if ending == ".checkpoint":
        md.save_checkpoint(path, model)
    else:
        form = {".h5": "minidl", ".weights.h5": "keras"}.get(ending, "safetensors")
        md.save_weights(model, path, form)
    status, out, err = run(capsys, "inspect", path)
    assert (status, err) == (0, "")
    assert f"{path}" in out.splitlines()[0]
    assert f"{path.stat().st_size:,} bytes" in out.splitlines()[1]
    shown = rows_of(out)
    kernel = "4 x 3 x 3 x 2" if ending == ".safetensors" else "3 x 2 x 3 x 4"
    assert shown["0", "convolution"] == {"weight": f"{kernel} float32", "bias": "4 float32"}
    assert set(shown["1", "batch_norm"]) == {"weight", "bias", "running_mean", "running_var"}
    assert {*shown} == {
        ("0", "convolution"), ("1", "batch_norm"), ("2", "convolution"), ("4", "linear"),
        ("5", "layer_norm"),
    }  # fmt: skip
    count = sum(array.size for array in model.state_dict().values())
    assert re.search(rf"total +5 +{count:,} +{4 * count:,}$", out.rstrip())


def test_inspect_tells_who_wrote_a_file(tmp_path, capsys):
    out = run(capsys, "inspect", keras_net(tmp_path / "keras.h5"))[1]
    assert re.search(r"written by +Keras 2\.8\.0 on tensorflow\n", out)
    md.save_weights(models.lenet5(num_classes=7), tmp_path / "own.h5")
    out = run(capsys, "inspect", tmp_path / "own.h5")[1]
    assert re.search(rf"written by +minidl {md.__version__}\n", out)
    assert re.search(r"architecture +models\.lenet5\(num_classes=7, in_channels=1\)\n", out)
    md.save_weights(net(), tmp_path / "x.safetensors", "safetensors")
    out = run(capsys, "inspect", tmp_path / "x.safetensors")[1]
    assert re.search(r"layouts +PyTorch's \(out first\)\n", out)


def test_inspect_of_a_checkpoint_tells_what_else_it_holds(tmp_path, capsys):
    model = net()
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    md.save_checkpoint(tmp_path / "x.h5", model, optimizer)
    out = run(capsys, "inspect", tmp_path / "x.h5")[1]
    assert re.search(r"kind +minidl checkpoint, version 1\n", out)
    assert re.search(r"holds +.*optimizer", out)
    assert re.search(r"checksums +right\n", out)


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_inspect_of_a_damaged_file(at, tmp_path, capsys):
    md.save_weights(net(), tmp_path / "x.h5")
    content = bytearray((tmp_path / "x.h5").read_bytes())
    content[int(at * len(content))] ^= 1
    (tmp_path / "x.h5").write_bytes(content)
    status, out, err = run(capsys, "inspect", tmp_path / "x.h5")
    assert (status, out) == (2, "")
    assert err.startswith(f"minidl inspect: {tmp_path / 'x.h5'}: ")


def test_inspect_of_what_is_no_file(tmp_path, capsys):
    for name in ("gone.h5", "."):
        status, out, err = run(capsys, "inspect", tmp_path / name)
        assert (status, out) == (2, "")
        assert err.startswith("minidl inspect: ")
        assert str(tmp_path) in err


def test_inspect_of_a_model_that_is_one_layer(tmp_path, capsys):
    for form, name in (("minidl", "x.h5"), ("safetensors", "x.safetensors")):
        md.save_weights(nn.Linear(3, 2), tmp_path / name, form)
        out = run(capsys, "inspect", tmp_path / name)[1]
        assert ("(the model itself)", "linear") in rows_of(out)
