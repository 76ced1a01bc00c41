"""Errors of the command that name what is nearly what was given."""

import pytest
from command import minidl


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["trian"], ": did you mean train?"),
        (["eval"], ": did you mean evaluate?"),
        (["find_lr"], ": did you mean find-lr?"),
        (["train", "--epoch5", "3"], ": did you mean --epochs?"),
        (["train", "--bacth-size=3"], ": did you mean --batch-size?"),
        (["predict", "--wieghts", "w.h5", "cat.jpg"], ": did you mean --weights?"),  # required
        (["build", "a", "b.h5", "--fit", "corp"], ": did you mean crop?"),
        (["evaluate", "w.h5", "pets", "--mixup", "1"],
         ": --mixup is an option of minidl train, finetune"),
        # a file that is called as a command is
        (["predict", "train", "--weihgts=w.h5"], ": did you mean --weights?"),
        # a shortened option and a value that looks like one are none of those meant
        (["train", "--see", "3", "--mixuq", "-1"], ": did you mean --mixup?"),
        (["train", "pets"], ": did you mean --data pets?"),
        (["predict", "--weights", "w.h5", "cat.jpg"],
         "required: IMAGE: --weights takes all that follows it: give IMAGE before it"),
    ],
)  # fmt: skip
def test_what_is_nearly_right_is_named(arguments, advice):
    done = minidl(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines()[-1].endswith(advice)
    if len(arguments) > 1:
        assert done.err.startswith(f"usage: minidl {arguments[0]} ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["xyzzy"], "choose from"),
        (["train", "--zzz"], "unrecognized arguments: --zzz"),
        (["doctor", "now"], "unrecognized arguments: now"),
        (["predict"], "the following arguments are required: IMAGE, --weights"),
        (["predict", "--weights", "w.h5", "--", "--epochs"], None),  # a file of that name
        (["train", "--epochs", "0", "--bacth-size", "3"], "must be 1 or more, got 0"),
    ],
)
def test_the_message_is_argparses_where_nothing_is_near(arguments, message):
    done = minidl(*arguments)
    assert done.status == 2
    assert "did you mean" not in done.err
    assert "is an option of" not in done.err
    assert message is None or message in done.err.splitlines()[-1]
