"""A frozen body computes the same for an image every time: once is enough.

`Trainer.fit` trains the head alone on what the body made of the images, where nothing can tell
the difference: a network of `minidl.models`, its body frozen, on data that is the same each time.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import random
from minidl.autograd import no_grad
from minidl.data import ArrayDataset, DataLoader, HDF5Dataset, Subset
from minidl.data.folder import ImageFiles
from minidl.data.transforms import Transform
from minidl.models import Network
from minidl.nn import Module
from minidl.nn.modes import shadow
from minidl.train.features import features_of

__all__ = ["HeadOnly", "gives_features", "head_only"]

MOST = 2**30  # bytes of features that are kept
FEW = 4  # images that the body is tried on


class HeadOnly:
    """The head of a network, and loaders of features in the place of some loaders of images.

    The loaders given aren't touched until `finish` tells them how far the others came.
    """

    def __init__(self, model: Network, loaders: Sequence[DataLoader]) -> None:
        self._model, self._pairs = model, []
        made: dict[int, DataLoader] = {}
        for loader in loaders:
            if id(loader) not in made:
                twin = made[id(loader)] = copy.copy(loader)
                twin.dataset, twin.transform = _Features(model, loader), []
                self._pairs.append((loader, twin))
        self.loaders = [made[id(loader)] for loader in loaders]
        self.head = model.classifier

    @property
    def holds(self) -> bool:
        """Whether the body is still frozen."""
        return _is_frozen(self._model)

    def finish(self) -> None:
        """Set the loaders of images to where those of features stand."""
        for loader, twin in self._pairs:
            loader.load_state_dict(twin.state_dict())


def head_only(model: Module, loaders: Sequence[Any]) -> HeadOnly | None:
    """The head with loaders of features, or None where they could make a difference."""
    if not isinstance(model, Network) or not _can_be_kept(model, loaders):
        return None
    found = HeadOnly(model, loaders)
    finite = all(np.isfinite(twin.dataset.arrays[0]).all() for twin in found.loaders)  # type: ignore[attr-defined]
    return found if finite else None  # what is wrong is better seen in the whole network


def gives_features(loader: Any) -> bool:
    """Whether a loader's batches are for the head."""
    return isinstance(getattr(loader, "dataset", None), _Features)


class _Features(ArrayDataset):
    """What the body makes of a loader's data set, shuffled as that is."""

    def __init__(self, model: Network, loader: DataLoader) -> None:
        plain = DataLoader(
            loader.dataset,
            loader.batch_size,
            workers=loader.workers,
            transform=loader.transform,
            seed=0,  # unused, and not drawn: the head may have a dropout
        )
        parts = list(features_of(model, "features", plain, pool=False))
        super().__init__(*(np.concatenate(each) for each in zip(*parts, strict=True)))
        self.order = loader.dataset.order  # type: ignore[method-assign]


def _can_be_kept(model: Network, loaders: Sequence[Any]) -> bool:
    """Whether the head of a network is all that has to run."""
    body = list(model.features.modules())
    plain = (
        type(model).scores is Network.scores
        and type(model).forward is Network.forward
        and _is_frozen(model)
        and not any(module._is_hooked() for module in [model, *body])
        and all(_is_constant(loader) for loader in loaders)
    )
    return (
        plain
        and sum(len(each.dataset) * _size(model, each) for each in loaders) <= MOST
        and all(_is_the_same_in_training(model, each) for each in loaders)
    )


def _is_frozen(model: Network) -> bool:
    """Whether all parts of the body that learn are frozen."""
    leaves = [m for m in model.features.modules() if not next(m.children(), None)]
    return all(m.frozen for m in leaves if next(m.parameters(), None) is not None)


def _is_constant(loader: Any) -> bool:
    """Whether a loader of pairs gives the same for an image every time, as far as can be known."""
    if type(loader) is not DataLoader or loader.augment:
        return False
    dataset: Any = loader.dataset
    while type(dataset) is Subset:
        dataset = dataset.dataset
    known = isinstance(dataset, ArrayDataset | HDF5Dataset | ImageFiles)
    own = known and type(dataset).__module__.startswith("minidl.")
    return own and all(isinstance(t, Transform) for t in loader.transform) and _is_pair(loader)


def _is_pair(loader: DataLoader) -> bool:
    return len(loader.dataset.batch([0])) == 2


def _is_the_same_in_training(model: Network, loader: DataLoader) -> bool:
    """Whether the body computes in training what it does in evaluation, and draws nothing: seen on
    a few images, so that it is known of layers that minidl doesn't know, too."""
    images = _images(loader, range(min(FEW, len(loader.dataset))))
    with random.restored(), no_grad():
        before, body = random.get_state(), shadow(model.features)
        training, evaluation = (body.train(mode)(images).data for mode in (True, False))
        drawn = random.get_state() != before
    return not drawn and np.array_equal(training, evaluation, equal_nan=True)


def _size(model: Network, loader: DataLoader) -> int:
    """Bytes of one image's features."""
    pair = (_images(loader, [0]), [0])
    ((features, _),) = features_of(model, "features", [pair], pool=False)
    return features.nbytes


def _images(loader: DataLoader, places: Sequence[int]) -> np.ndarray:
    """Some images as the loader gives them."""
    images, *_ = loader.dataset.batch(list(places))
    for transform in loader.transform:
        images = transform(images, None)
    return images
