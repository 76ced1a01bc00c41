"""A frozen body computes the same for an image every time: once is enough.

`Trainer.fit` trains the head alone on what the body made of the images, where nothing can tell
the difference: a network of `minidl.models`, its body frozen, on images that aren't augmented.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import nn
from minidl.data import ArrayDataset, DataLoader
from minidl.models import Network
from minidl.nn import Module
from minidl.train.features import features_of

__all__ = ["gives_features", "head_only"]

MOST = 2**30  # bytes of features that are kept


@contextlib.contextmanager
def head_only(model: Module, loaders: list[Any]) -> Iterator[Module]:
    """Inside, the loaders give features, and what is yielded is the head that takes them.

    Where that can't be, they give what they always do and the model itself is yielded.
    """
    if not isinstance(model, Network) or not _can_be_kept(model, loaders):
        yield model
        return
    with contextlib.ExitStack() as afterwards:
        for loader in {id(each): each for each in loaders}.values():
            afterwards.callback(_set, loader, loader.dataset, loader.transform)
            _set(loader, _Features(model, loader), [])
        yield model.classifier


def gives_features(loader: Any) -> bool:
    """Whether a loader's batches are for the head, inside `head_only`."""
    return isinstance(getattr(loader, "dataset", None), _Features)


class _Features(ArrayDataset):
    """What the body makes of a loader's data set, shuffled as that is."""

    def __init__(self, model: Network, loader: DataLoader) -> None:
        plain = DataLoader(
            loader.dataset, loader.batch_size, workers=loader.workers, transform=loader.transform
        )
        parts = list(features_of(model, "features", plain, pool=False))
        super().__init__(*(np.concatenate(each) for each in zip(*parts, strict=True)))
        self.order = loader.dataset.order  # type: ignore[method-assign]


def _set(loader: DataLoader, dataset: Any, transform: Any) -> None:
    loader.dataset, loader.transform = dataset, transform


def _can_be_kept(model: Network, loaders: list[Any]) -> bool:
    """Whether the head of a network is all that has to run."""
    body = list(model.features.modules())
    leaves = [module for module in body if not next(module.children(), None)]
    plain = all(type(each) is DataLoader and not each.augment for each in loaders)
    return (
        plain
        and type(model).scores is Network.scores
        and type(model).forward is Network.forward
        and all(module.frozen for module in leaves if next(module.parameters(), None) is not None)
        and not any(isinstance(module, nn.Dropout) for module in leaves)
        and not any(module._forward_hooks for module in [model, *body])
        and sum(len(each.dataset) * _size(model, each) for each in loaders) <= MOST
    )


def _size(model: Network, loader: DataLoader) -> int:
    """Bytes of one image's features."""
    images, *_ = loader.dataset.batch([0])
    for transform in loader.transform:
        images = transform(images, None)
    ((features, _),) = features_of(model, "features", [(images, [0])], pool=False)
    return features.nbytes
