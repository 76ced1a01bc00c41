"""A training that Ctrl-C ends."""

import contextlib

import pytest

from minidl.train import Checkpoint


@contextlib.contextmanager
def interrupted_after(epoch):
    """Inside, a training is interrupted as soon as the checkpoint of this epoch is there."""
    save = Checkpoint.on_epoch_end

    def interrupted(self, trainer, row):
        save(self, trainer, row)
        if trainer.epoch == epoch:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            yield
