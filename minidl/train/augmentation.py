"""The random transforms that `train.train` and `train.finetune` augment images with."""

from minidl.data import transforms
from minidl.data.images import SMALL
from minidl.data.transforms import Transform

__all__ = ["for_digits", "for_finetuning", "for_photographs"]


def for_digits() -> list[Transform]:
    """Return shifts, turns and changes of size that leave a digit or a small drawing whole."""
    return [
        transforms.RandomAffine(
            10, translate=(0.1, 0.1), shear=10, scale=(0.9, 1.1), fill="edge"
        )
    ]  # fmt: skip


def for_photographs(size: int, mirror: bool, rand_augment: int | None) -> list[Transform]:
    """Return what photographs are augmented with in training from scratch.

    size: height and width of the crops.  rand_augment: strength of `RandAugment`; None: none.
    """
    changes: list[Transform] = [transforms.RandomCrop(size, padding=size // 8)]
    if size >= SMALL:
        changes = [transforms.RandomResizedCrop(size, (0.35, 1))]
    if mirror:
        changes.append(transforms.RandomHorizontalFlip())
    if rand_augment is not None:
        changes.append(transforms.RandAugment(2, rand_augment, fill=128))
    return changes


def for_finetuning(size: int, mirror: bool) -> list[Transform]:
    """Return what images are augmented with in fine-tuning; crops are `size` x `size`."""
    changes = for_digits()
    if size >= SMALL:
        changes = [transforms.RandomResizedCrop(size, (0.5, 1), (0.85, 1 / 0.85))]
    if mirror:
        changes.append(transforms.RandomHorizontalFlip())
    return changes
