"""What a run's page advises: a rule each, with figures that are and that aren't enough for it."""

import re

import pytest
from run_folders import Page, save

from minidl.analysis.report import read_run, report
from minidl.analysis.report.advice import next_steps

TRAIN = {
    "command": "train", "weights": None, "augment": False, "rand_augment": None, "mixup": None,
    "cutmix": None, "label_smoothing": 0, "class_weights": False, "optimizer": {"lr": 0.1},
}  # fmt: skip
TUNE = {"command": "finetune", "weights": "w.h5", "mixup": 0, "cutmix": 0, "freeze": None}


def run(tmp_path, settings, right=(450, 450), of=(500, 500), training=None, **more):
    """A run of two classes, "a" and "b", of each of which so many images are right."""
    confusion = [[right[0], of[0] - right[0]], [of[1] - right[1], right[1]]]
    results = {key: more.pop(key) for key in ("count", "by_class", "gain") if key in more}
    approach = {"name": "x", "accuracy": sum(right) / sum(of), "confusion": confusion, **more}
    if training is not None:
        approach["training"] = {"right": training[0], "count": training[1]}
    results |= {"classes": ["a", "b"], "approaches": [approach], "best": "x"}
    return read_run(save(tmp_path / "run", {"settings": settings, "results": results}))


def texts(*arguments, **settings):
    return [f"{step.what}: {step.why}" for step in next_steps(run(*arguments, **settings))]


def one(*arguments, **settings):
    (text,) = texts(*arguments, **settings)
    return text


def test_too_few_images_are_all_that_is_told(tmp_path):
    """12 of 20 in training, 8 of 20 in validation: no more can be said than how many it takes."""
    text = one(tmp_path, TUNE, (4, 4), (10, 10), training=(20, 20))
    assert text.startswith("Measure on more validation images: 20 are too few to advise anything")
    assert "between 22% and 61%" in text  # Wilson's interval of 8 in 20
    assert "About 374 would" in text  # 1.96² 0.417 0.583 / 0.05²
    assert "test images" in one(tmp_path, TRAIN, (4, 4), (10, 10))


def test_no_better_than_guesses_without_a_look(tmp_path):
    """All are taken for "a", which 55 % are; or guesses are 6 to 4, whatever the truth is."""
    text = one(tmp_path, TRAIN, (550, 0), (550, 450), training=(290, 500))
    assert text.startswith("Find out why nothing is learnt: As many guesses")
    assert "would be right for 55.0%. The network is right for 55.0% (52% to 58%)" in text
    assert "minidl find-lr" in text
    assert "find-lr" not in one(tmp_path, TUNE, (330, 180), (550, 450))
    assert "would be right for 51.0%" in one(tmp_path, TUNE, (330, 180), (550, 450))
    assert "Find out" not in texts(tmp_path, TRAIN, (440, 300), (550, 450), training=(290, 500))[0]
    rare = texts(tmp_path, TRAIN, (920, 25), (950, 50))  # less than always "a", but it sees "b"
    assert rare == []


def test_an_error_in_training_asks_for_a_better_fit(tmp_path):
    text = one(tmp_path, TRAIN | {"mixup": 0.2, "augment": True}, training=(450, 500))
    assert text.startswith("Fit the training images better: Of 500 training images 10.0% are wrong")
    for option in ("--model", "--epochs", "--lr", "less of --augment and --mixup."):
        assert option in text
    text = one(tmp_path, TUNE | {"freeze": "features.3"}, training=(450, 500), share=0.5)
    assert "larger images (--size)" in text
    assert "without --freeze" in text
    assert "less of" not in text
    assert "without --freeze" not in one(tmp_path, TUNE, training=(450, 500), share=0.5)
    assert "Fit" not in one(tmp_path, TRAIN, (490, 485), training=(490, 500))  # 2 %, by chance more


def test_the_last_epoch_was_the_best(tmp_path):
    epochs = [{"epoch": e, "val_accuracy": 0.9} for e in (1, 2, 3)]
    settings = {"training": (450, 500), "epochs": epochs, "count": {"chosen_by": 500}}
    told = "The lowest validation loss came in the last epoch"
    assert told in one(tmp_path, TRAIN, **settings, best_epoch=3)
    assert told not in one(tmp_path, TRAIN, **settings, best_epoch=2)


def test_a_gap_asks_for_data_and_regularisation(tmp_path):
    text = one(tmp_path, TRAIN, training=(500, 500))
    assert text.startswith("Close the gap")
    assert "100.0% of the training images are right, and 90.0% of 1,000" in text
    assert re.search(r"8\.\d to 12\.\d points are lost", text)
    for option in ("more images", "minidl finetune", "--augment, ", "--mixup 0.2", "--cutmix 1",
                   "--label-smoothing 0.1", "--weight-decay"):  # fmt: skip
        assert option in text
    assert "--rand-augment" not in text  # which goes with --augment
    text = one(tmp_path, TRAIN | {"augment": True, "weights": "w.h5"}, training=(500, 500))
    assert "--rand-augment 9" in text
    assert "--augment," not in text
    assert "minidl finetune" not in text
    text = one(tmp_path, TUNE, training=(500, 500), share=0.25)
    assert "--mixup 0.2, --cutmix 1 and --freeze" in text
    assert "--label-smoothing" not in text  # no option of it


def test_the_larger_part_of_the_error_comes_first(tmp_path):
    """15 % in training and 5 more beyond, or the other way round."""
    first, second = texts(tmp_path, TRAIN, (400, 400), training=(425, 500))
    assert (first[:3], second[:3]) == ("Fit", "Clo")
    first, second = texts(tmp_path, TRAIN, (400, 400), training=(470, 500))
    assert (first[:3], second[:3]) == ("Clo", "Fit")


def test_images_that_are_unlike_those_of_the_training(tmp_path):
    """By the images that the epoch is chosen by, or those that were held out in turn."""
    epochs = [{"epoch": 4, "val_accuracy": 0.98}]
    chosen = {"epochs": epochs, "best_epoch": 4, "count": {"train": 900, "chosen_by": 300}}
    text = one(tmp_path, TRAIN, training=(495, 500), **chosen)
    assert text.startswith("Train on images that are like the test images: Of 300 images held out")
    assert "98.0% are right, and of 1,000 test images 90.0%" in text
    tried = [{"share": 0.5, "accuracy": 0.98, "loss": 0.1}]
    held = {"share": 0.5, "tried": tried, "count": {"train": 200}}
    text = one(tmp_path, TUNE, training=(198, 200), **held)
    assert "Of 200 images held out of the training 98.0%" in text
    tried[0]["accuracy"] = 0.94  # between both: each step may be chance, not the two together
    text = one(tmp_path, TUNE, (455, 455), training=(194, 200), **held)
    assert text.startswith("Close the gap")
    assert "of 1,000" in text


def test_what_fine_tuning_gained(tmp_path):
    sure = {"training": (450, 490), "share": 0.5}
    for gain, what, why in (
        ((0.01, 0.02), "Don't count on fine-tuning", r"\+1\.0 ± 2\.0 .* about 4,000 to show"),
        ((-0.001, 0.02), "Don't count on", r"-0\.1 ± 2\.0 points. A difference of 1\.0 .* 4,000"),
        ((-0.03, 0.01), "Take less of the fine-tuning", r"-3\.0 ± 1\.0 points"),
    ):
        gained = dict(zip(("points", "within"), gain, strict=True))
        last = texts(tmp_path, TUNE, gain=gained, **sure)[-1]
        assert last.startswith(what)
        assert re.search(why, last)
    gained = {"points": 0.03, "within": 0.01}
    assert not [t for t in texts(tmp_path, TUNE, gain=gained, **sure) if "fine-tuning:" in t]
    none = {"gain": {"points": 0, "within": 0.01}, "training": (450, 490), "share": 0}
    tried = [{"share": 0, "accuracy": 0.9, "loss": 0.1}]
    assert texts(tmp_path, TUNE, **none, tried=tried)[-1].startswith("Take the linear probe")
    assert texts(tmp_path, TUNE, **none)[-1].startswith("Collect more images of the rarest")


def test_a_class_with_few_images(tmp_path):
    """50 of 1,000 images, and half of its images found; not where it is found, or has many."""
    few = {"training": (485, 500), "by_class": {"train": [950, 50]}}
    last = texts(tmp_path, TRAIN, (920, 25), (950, 50), **few)[-1]
    assert last.startswith("Collect more images of b: It has 50 of 1,000 training images, and 50%")
    assert "against 97% of the others" in last
    assert "--class-weights" in last
    assert "--class-weights" not in texts(tmp_path, TUNE, (920, 25), (950, 50), **few)[-1]
    for right, counts in (((920, 48), [950, 50]), ((920, 25), [500, 500])):
        few["by_class"]["train"] = counts
        assert not [t for t in texts(tmp_path, TRAIN, right, (950, 50), **few) if "Collect" in t]


def test_nothing_is_advised_without_figures_that_say_so(tmp_path):
    assert texts(tmp_path, TRAIN) == []  # a run of before, without the accuracy in training
    text = one(tmp_path, TRAIN, (490, 490), training=(492, 500))
    assert text.startswith("Nothing stands out: 98.4% of the training images are right")
    assert next_steps(read_run(save(tmp_path / "a", {"settings": TRAIN}))) == []


@pytest.mark.parametrize("training", [{"right": 5, "count": 4}, {"right": 1.5, "count": 4}, 3])
def test_damaged_figures_are_told(tmp_path, training):
    results = {"approaches": [{"name": "x", "training": training}]}
    with pytest.raises(ValueError, match=r"results\.json: approaches\[0\]\.training"):
        read_run(save(tmp_path, {"results": results}))


def test_it_stands_on_the_page(tmp_path):
    page = Page(report(run(tmp_path, TRAIN, training=(500, 500)).folder))
    assert page.text.index("What to do next") < page.text.index("Result")
    assert "Close the gap" in page.text
