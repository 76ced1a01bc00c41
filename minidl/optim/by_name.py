"""An optimizer's state by the names of parameters, which outlives a change of the groups.

`Optimizer.state_dict` numbers parameters, which is exact and fits only the same groups again. In
a checkpoint they are named, so that training can resume after some were frozen or added.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl.autograd import Tensor
from minidl.errors import StateError
from minidl.optim.optimizer import Optimizer

__all__ = ["load_named_state", "named_state"]


def named_state(optimizer: Optimizer, names: Mapping[Tensor, str]) -> dict[str, Any]:
    """`optimizer.state_dict()` with names for numbers, and the optimizer's class.

    names: of the parameters; one that has none keeps its number, as in "#3".
    """
    state = optimizer.state_dict()
    called = _called(optimizer, names)
    return {
        "class": type(optimizer).__name__,
        "groups": [{**g, "params": [called[n] for n in g["params"]]} for g in state["groups"]],
        "state": {called[int(number)]: held for number, held in state["state"].items()},
    }


def load_named_state(
    optimizer: Optimizer, saved: Mapping[str, Any], names: Mapping[Tensor, str]
) -> None:
    """Resume from where `named_state` was taken, for the parameters that are still optimized.

    A parameter that the state doesn't know starts anew; the state of one that is no longer
    optimized is dropped. A group takes the settings of the saved group that its known parameters
    stood in; without such, or with several, it keeps its own.
    Raises StateError for another class, or states that don't fit their parameters; the optimizer
    is then left as it was.
    """
    who = type(optimizer).__name__
    if saved["class"] != who:
        raise StateError(
            f"the checkpoint holds the state of {saved['class']}, the optimizer is {who}: resume "
            "with the same class, or leave the optimizer out"
        )
    own = optimizer.state_dict()
    called = _called(optimizer, names)
    group_of = {name: i for i, group in enumerate(saved["groups"]) for name in group["params"]}
    for group in own["groups"]:
        known = {group_of[called[n]] for n in group["params"] if called[n] in group_of}
        if len(known) == 1:
            settings = saved["groups"][known.pop()]
            group.update((key, value) for key, value in settings.items() if key != "params")
    params = [p for group in optimizer.param_groups for p in group["params"]]
    own["state"] = {}
    for group in own["groups"]:
        for n in group["params"]:
            held = saved["state"].get(called[n], {})
            counts = optimizer._counts(group)
            first: dict[str, Any] = {name: value for name, (value, _) in counts.items()}
            for name in optimizer._arrays(group):
                first[name] = np.zeros(params[n].shape, params[n].dtype)
            if first:
                own["state"][str(n)] = {name: held.get(name, first[name]) for name in first}
    optimizer.load_state_dict(own)


def _called(optimizer: Optimizer, names: Mapping[Tensor, str]) -> dict[int, str]:
    """Return the name of each parameter, by its number."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    return {number: names.get(p, f"#{number}") for number, p in enumerate(params)}
