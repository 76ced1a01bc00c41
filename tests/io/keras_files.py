"""Files as Keras writes them, written by hand."""

import json
import zipfile

import h5py
import numpy as np


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def layer(class_name, name, inputs=None, **settings):
    """A layer in a configuration. inputs: the names of those before it, for a Functional model."""
    row = {"class_name": class_name, "name": name, "config": {"name": name, **settings}}
    if inputs is not None:
        row["inbound_nodes"] = [[[each, 0, 0, {}] for each in inputs]]
    return row


def model(*layers, name="model", kind="Functional"):
    return {"class_name": kind, "config": {"name": name, "layers": list(layers)}}


def legacy(path, arrays, config=None, under="model_weights/", pieces=1, **attributes):
    """Keras 1 and 2, and the .h5 of Keras 3.  arrays: {layer: {"conv1/kernel:0": array}}.

    pieces: of the attributes that list names; Keras cuts those of large models.
    attributes: of the weights, such as backend="tensorflow".
    """
    with h5py.File(path, "w") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
        weights = file.require_group(under or "/")
        weights.attrs.update({"keras_version": "2.8.0", "backend": "tensorflow"} | attributes)
        _names(weights, "layer_names", list(arrays), pieces)
        for name, own in arrays.items():
            group = weights.create_group(name)
            _names(group, "weight_names", list(own), pieces)
            for weight, array in own.items():
                group[weight] = array
    return path


def _names(group, attribute, names, pieces):
    names = [name.encode() for name in names]
    if pieces == 1:
        group.attrs[attribute] = names
    for i in range(pieces) if pieces > 1 else ():
        part = [names[j] for j in range(len(names)) if j * pieces // len(names) == i]
        group.attrs[f"{attribute}{i}"] = np.array(part, "S9")


def numbered(path, arrays, names=None):
    """Keras 3's .weights.h5.  arrays: {"layers/conv2d": [kernel, bias]}; names: of those groups."""
    with h5py.File(path, "w") as file:
        for group, own in arrays.items():
            place = file.create_group(f"{group}/vars")
            if names and group in names:
                place.attrs["name"] = names[group]
            for i, array in enumerate(own):
                place[str(i)] = array
    return path


def archive(path, arrays, config, names=None):
    """Keras 3's .keras."""
    weights = path.with_suffix(".inner")
    numbered(weights, arrays, names)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        file.writestr("config.json", json.dumps(config))
        file.write(weights, "model.weights.h5")
    return path


def same(got, expected):
    """Equal bit for bit."""
    np.testing.assert_array_equal(got.data, expected, strict=True)
