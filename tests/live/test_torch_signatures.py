"""What PyTorch itself takes by place, and leaves out."""

import inspect
import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'minidl[oracle]'")
HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

import record_signatures  # noqa: E402
from signatures import SYNONYMS, differences, public  # noqa: E402

# What is left out means something else, and the documentation says so.
CONVENTIONS = {
    "nn.AvgPool2d: count_include_pad",  # padding doesn't count
    "nn.CrossEntropyLoss: ignore_index",  # none, rather than -100
    "nn.functional.cross_entropy: ignore_index",
    "ops.cross_entropy: ignore_index",
    "nn.NLLLoss: ignore_index",
    "nn.functional.nll_loss: ignore_index",
    "ops.nll_loss: ignore_index",
    "nn.Softmax: axis",  # the last, rather than one guessed from the shape
    "nn.LogSoftmax: axis",
    "nn.functional.softmax: axis",
    "nn.functional.log_softmax: axis",
    "nn.Upsample: scale_factor",  # must be given
    "nn.functional.upsample: scale_factor",
    "ops.upsample: scale_factor",
    "nn.init.kaiming_normal: nonlinearity",  # ReLU, rather than leaky ReLU
    "nn.init.kaiming_uniform: nonlinearity",
    "optim.SGD: lr",  # must be given
    "data.DataLoader: batch_size",  # must be given
    "md.gradcheck: atol",  # stricter
    "md.gradcheck: rtol",
}


def test_the_record_is_what_pytorch_says():
    recorded = json.loads((HERE / "torch_signatures.json").read_text(encoding="utf-8"))
    assert record_signatures.table() == recorded


def test_no_argument_stands_where_pytorch_has_another():
    assert differences(record_signatures.table()) == []


def defaults(function):
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {p.name: p.default for p in parameters if p.kind not in several}


def test_what_is_left_out_means_the_same():
    found = set()
    for name, function, theirs in public():
        other = next(filter(None, map(record_signatures._found, _torch(theirs))), None)
        known = defaults(other)
        for argument, value in defaults(function).items():
            for same in {argument} | SYNONYMS.get(argument, set()):
                if same in known and not _alike(value, known[same]):
                    found.add(f"{name}: {argument}")
    assert found == CONVENTIONS


def _torch(names):
    return [name for name in names if name.startswith("torch.")]


def _alike(ours, theirs):
    """A number that may be left out: None, 0 and False come to the same in their places."""
    return ours == theirs or (not ours and not theirs)
