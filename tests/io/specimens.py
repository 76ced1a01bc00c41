"""Small files to mutate: of Keras in each of its formats, safetensors, and minidl's own."""

import io
import json
import random
import zipfile
from dataclasses import dataclass

import h5py
import numpy as np

import minidl as md
from minidl import models, nn, optim


@dataclass
class Specimen:
    """kind: "hdf5" (Keras's), "plain" (HDF5 of others), "keras" (its archive), "safetensors", or
    of minidl "weights", "checkpoint" or "network"."""

    name: str
    kind: str
    content: bytes


class Net(nn.Module):
    """What the files are loaded into."""

    def __init__(self):
        self.conv = nn.Conv2d(2, 3, 3)
        self.bn = nn.BatchNorm2d(3)
        self.dense = nn.Linear(3, 4)
        self.gru = nn.GRU(4, 2)

    def forward(self, x):
        x = self.dense(self.bn(self.conv(x)).mean(axis=(1, 2)))
        return self.gru(x.reshape(len(x), 1, 4))[0]


LAYERS = {
    "conv": ("Conv2D", {"kernel": (3, 3, 2, 3), "bias": (3,)}),
    "bn": (
        "BatchNormalization",
        {"gamma": (3,), "beta": (3,), "moving_mean": (3,), "moving_variance": (3,)},
    ),
    "dense": ("Dense", {"kernel": (3, 4), "bias": (4,)}),
    "gru": ("GRU", {"kernel": (4, 6), "recurrent_kernel": (2, 6), "bias": (2, 6)}),
}
GROUPS = {"conv": "conv2d", "bn": "batch_normalization", "dense": "dense", "gru": "gru/cell"}


def _config():
    settings = {"conv": {"strides": [1, 1], "padding": "valid"}, "bn": {"epsilon": 1e-5}}
    rows = [
        {"class_name": kind, "config": {"name": name, **settings.get(name, {})}}
        for name, (kind, _) in LAYERS.items()
    ]
    return {"class_name": "Sequential", "config": {"name": "net", "layers": rows}}


def _numbers(shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def hdf5(fill, **options):
    """The bytes of an HDF5 file that `fill(file)` writes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        fill(file)
    return buffer.getvalue()


def _fill_legacy(root, **options):
    root.attrs["layer_names"] = [name.encode() for name in LAYERS]
    root.attrs.update({"backend": "tensorflow", "keras_version": "2.15.0"})
    for name, (_, arrays) in LAYERS.items():
        group = root.create_group(name)
        group.attrs["weight_names"] = [f"{name}/{role}:0".encode() for role in arrays]
        for role, shape in arrays.items():
            group.create_dataset(f"{name}/{role}:0", data=_numbers(shape), **options)


def _fill_model(file):
    file.attrs["model_config"] = json.dumps(_config())
    _fill_legacy(file.create_group("model_weights"), compression="gzip", chunks=True)


def _fill_keras3(file):
    for name, (_, arrays) in LAYERS.items():
        group = file.create_group(f"layers/{GROUPS[name]}/vars")
        group.attrs["name"] = name
        for i, shape in enumerate(arrays.values()):
            group[str(i)] = _numbers(shape)


def archive(weights, config, method=zipfile.ZIP_STORED):
    """The bytes of a .keras archive."""
    buffer = io.BytesIO()
    members = {"metadata.json": b"{}", "config.json": config, "model.weights.h5": weights}
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def _safetensors():
    import safetensors.numpy

    arrays = {
        "conv.weight": _numbers((3, 2, 3, 3)),
        "conv.bias": _numbers((3,)),
        "bn.weight": _numbers((3,)),
        "bn.bias": _numbers((3,)),
        "bn.running_mean": _numbers((3,)),
        "bn.running_var": _numbers((3,)),
        "bn.num_batches_tracked": np.array(7),
        "dense.weight": _numbers((4, 3)),
        "dense.bias": _numbers((4,)),
        "gru.weight_ih_l0": _numbers((6, 4)),
        "gru.weight_hh_l0": _numbers((6, 2)),
        "gru.bias_ih_l0": _numbers((6,)),
        "gru.bias_hh_l0": _numbers((6,)),
    }
    return safetensors.numpy.save(arrays, {"format": "pt"})


def foreign(pyfive=None):
    """Files of others; `pyfive`: the folder shared_data/hdf5_pyfive."""
    keras3, config = hdf5(_fill_keras3), json.dumps(_config()).encode()
    found = [
        Specimen("legacy.h5", "hdf5", hdf5(_fill_legacy)),
        Specimen("legacy_new.h5", "hdf5", hdf5(_fill_legacy, libver="latest")),
        Specimen("model.h5", "hdf5", hdf5(_fill_model)),
        Specimen("keras3.weights.h5", "hdf5", keras3),
        Specimen("keras3_new.weights.h5", "hdf5", hdf5(_fill_keras3, libver="latest")),
        Specimen("net.keras", "keras", archive(keras3, config)),
        Specimen("packed.keras", "keras", archive(keras3, config, zipfile.ZIP_DEFLATED)),
        Specimen("net.safetensors", "safetensors", _safetensors()),
    ]
    if pyfive is not None:
        for path in sorted(pyfive.glob("*.hdf5")):
            found.append(Specimen(path.name, "plain", path.read_bytes()))
    return found


def own(folder):
    """minidl's own files."""
    md.manual_seed(1)
    random.seed(1)
    net = Net()
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    for parameter in net.parameters():
        parameter.grad = np.full(parameter.shape, 0.5, parameter.dtype)
    optimizer.step()
    md.save_weights(net, folder / "plain.h5")
    md.save_weights(net, folder / "packed.h5", compression="gzip")
    extra = {"note": "text", "row": [1, 2.5, None], "pair": (1, np.arange(3))}
    md.save_checkpoint(folder / "c.h5", net, optimizer, extra=extra)
    md.save_weights(models.lenet5(num_classes=1), folder / "lenet.h5")
    kinds = {"plain": "weights", "packed": "weights", "c": "checkpoint", "lenet": "network"}
    return [
        Specimen(f"{name}.h5", kind, (folder / f"{name}.h5").read_bytes())
        for name, kind in kinds.items()
    ]
