"""A fine-tuning that was interrupted goes on to the same bits."""

import numpy as np
import pytest

from minidl import models, train
from minidl.errors import StateError
from minidl.train.checkpoint import Checkpoint
from minidl.train.shares import Tried

SMALL = {"epochs": 2, "mixup": 0.2, "resume": True, "verbose": False}


def weights(run):
    return models.load(run.folder / "weights.h5").state_dict()


@pytest.fixture(scope="module", autouse=True)
def half_of_the_way():
    """Whatever cross-validation says of so few images, so that there is a last training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tried, "best", lambda self: 0.5)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train.finetune(output=tmp_path_factory.mktemp("whole"), **SMALL)


def figures(run):
    """What results.json tells, but for how long things took."""
    rows = [
        {name: value for name, value in row.items() if name not in ("seconds", "epochs")}
        for row in run.results["approaches"]
    ]
    return rows, run.results["mistakes"], run.results["verdict"]


# Trainings: two rates on the first fold, a rate on four more, the last, and from scratch, 6 epochs
@pytest.mark.parametrize("epochs", [5, 13, 16])
def test_same_bits(whole, tmp_path, monkeypatch, epochs):
    saved, done = Checkpoint.on_epoch_end, []

    def interrupted(self, trainer, row):
        saved(self, trainer, row)
        done.append(row)
        if len(done) == epochs:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train.finetune(output=tmp_path, **SMALL)
    again = []
    with monkeypatch.context() as patch:
        patch.setattr(
            Checkpoint, "on_epoch_end", lambda self, *rest: again.append(saved(self, *rest))
        )
        run = train.finetune(output=tmp_path, **SMALL)
    assert len(again) == 20 - epochs
    assert figures(run) == figures(whole)
    for name, array in weights(run).items():
        np.testing.assert_array_equal(array, weights(whole)[name])


def test_another_run_is_not_taken_for_it(whole):
    with pytest.raises(StateError, match="begun with seed=0, not 1"):
        train.finetune(output=whole.folder, seed=1, **SMALL)


def test_without_resume_nothing_is_kept(tmp_path):
    run = train.finetune(output=tmp_path, epochs=0, scratch=False, verbose=False)
    assert not (run.folder / "checkpoints").exists()


def test_other_class_weights_or_images_are_another_run(whole):
    with pytest.raises(StateError, match="class_weights=False, not True"):
        train.finetune(output=whole.folder, class_weights=True, **SMALL)
