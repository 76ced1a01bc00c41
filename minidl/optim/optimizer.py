"""What all optimizers share: groups of parameters, their settings, and their state."""

import itertools
import operator
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minidl import kernels
from minidl.autograd import Tensor
from minidl.autograd.held import written
from minidl.errors import ArgumentError, StateError
from minidl.optim._checks import (
    FROM_ZERO,
    Rule,
    alike,
    array_like,
    check,
    check_float,
    check_gradient,
    counts,
    flatten,
    listed,
    load,
    tensors,
)
from minidl.recording import before, here, owns

__all__ = ["Optimizer", "Params"]

Params = Iterable[Tensor] | Iterable[dict[str, Any]]


class Optimizer:
    """Base class: holds the groups and the state; a subclass gives the update rule.

    params: an iterable of float tensors, or of dicts `{"params": [...], "lr": ..., ...}` whose
        other keys are settings that differ from the defaults.
    A subclass declares `settings` (a rule for each), the state it needs (`numbers`, `_arrays`) and
    `_update`.
    Raises ArgumentError for a setting out of range, an unknown one, or a tensor given twice;
    DTypeError for what is no float tensor.
    """

    settings: ClassVar[dict[str, Rule]] = {}
    numbers: ClassVar[dict[str, tuple[float, Rule]]] = {}  # by name: first value, and its rule

    def __init__(self, params: Params, **defaults: Any) -> None:
        self._who = type(self).__name__
        self.param_groups: list[dict[str, Any]] = []
        self._defaults = {
            name: check(self._who, name, self.settings[name], value)
            for name, value in defaults.items()
            if value is not None
        }
        self._state: dict[Tensor, dict[str, Any]] = {}
        items = listed(self._who, params)
        grouped = any(isinstance(item, dict) for item in items)
        for group in items if grouped else [{"params": items}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Optimise more parameters: `{"params": [...]}` and the settings that differ.

        Raises as the constructor does, and then leaves the optimizer as it was.
        """
        who = f"{self._who}, group {len(self.param_groups)},"
        if not isinstance(group, dict) or "params" not in group:
            raise ArgumentError(
                f"{who} expected a dict with the key 'params', got {group!r:.100}: "
                "give tensors alone, or dicts alone"
            )
        params = tensors(who, group["params"])
        for i, p in enumerate(params):
            self._check_new(f"{who} parameter {i},", p)
        whole = {"params": params, **self._defaults}
        whole.update((name, value) for name, value in group.items() if name != "params")
        plain = self._plain(who, whole)
        self.param_groups.append({"params": params, **plain})
        for p in params:
            self._fit_state(p, plain)

    def _check_new(self, who: str, p: Tensor) -> None:
        if p in self._state:
            raise ArgumentError(f"{who} is in another group already: give each tensor once")
        check_float(who, p)
        if p.requires_grad and p.edge is not p:
            raise ArgumentError(
                f"{who} was computed from other tensors: optimise those, or .detach() it"
            )

    def _plain(self, who: str, group: dict[str, Any]) -> dict[str, Any]:
        """The settings of a group, checked and in plain Python. Groups are dicts that anyone may
        write to, so this is asked at every step."""
        known = {**self.settings, "initial_lr": FROM_ZERO}
        unknown = [name for name in group if name not in known and name != "params"]
        missing = [name for name in self.settings if name not in group]
        if unknown:
            raise ArgumentError(
                f"{who} got the unknown setting {unknown[0]!r}: it knows {', '.join(self.settings)}"
            )
        if missing:
            raise ArgumentError(
                f"{who} lacks the setting {missing[0]!r}: give it to the group or the optimizer"
            )
        plain = {
            name: check(who, name, rule, group[name])
            for name, rule in known.items()
            if name in group
        }
        self._check_together(who, plain)
        return plain

    def _check_together(self, who: str, settings: dict[str, Any]) -> None:
        """Raise ArgumentError for settings that contradict one another."""

    # State

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        """Names of the arrays, shaped as the parameter and first 0, that the rule keeps for it."""
        return ()

    def _fit_state(self, p: Tensor, settings: dict[str, Any]) -> dict[str, Any]:
        """The state of `p`: what its settings call for, and nothing else.

        So SGD without momentum holds no memory; turned off, momentum is forgotten.
        """
        if p not in self._state:
            self._state[p] = {name: first for name, (first, _) in self.numbers.items()}
        state = self._state[p]
        wanted = self._arrays(settings)
        for name in [n for n in state if n not in wanted and n not in self.numbers]:
            del state[name]
        for name in wanted:
            if name not in state:
                state[name] = np.zeros(p.shape, p.dtype)
        return state

    def _numbered(self) -> Iterator[tuple[int, int, Tensor]]:
        """Every parameter, with the place of its group and its own number through all groups."""
        number = itertools.count()
        for i, group in enumerate(self.param_groups):
            for p in group["params"]:
                yield i, next(number), p

    def _all_plain(self, who: str) -> list[dict[str, Any]]:
        """The checked settings of each group."""
        return [
            self._plain(f"{self._who}.{who}, group {i},", group)
            for i, group in enumerate(self.param_groups)
        ]

    # Training

    def zero_grad(self) -> None:
        """Forget the gradients: `.grad` becomes None."""
        for _, _, p in self._numbered():
            p.grad = None

    def step(self) -> None:
        """Update, in place, every parameter that has a gradient and isn't frozen.

        One whose `.grad` is None or whose `requires_grad` is False is passed over, state and all.
        Raises ShapeError or DTypeError for a gradient unlike its parameter, ArgumentError for a
        setting out of range or read-only data, StateError for a parameter whose dtype was changed;
        nothing is then updated.
        """
        due = self._due()
        for each in due:
            each.numbers[:] = self._numbers(each.state, each.settings)
            self._recorded_update(each)
            written(each.p.data, f"{self._who}.step()")
            owns(each.p.data, *(a for a in each.state.values() if isinstance(a, np.ndarray)))
        before(_Counting(self, due))

    def _due(self) -> list["_Due"]:
        """What a step would update now, all of it checked."""
        settings = self._all_plain("step")
        due = []
        for i, number, p in self._numbered():
            grad = p.grad
            if grad is not None and p.requires_grad:
                state = self._fit_state(p, settings[i])
                self._check_ready(f"{self._who}.step, parameter {number},", p, state)
                numbers = np.empty(len(self._numbers(dict(state), settings[i])), np.float64)
                due.append(_Due(p, grad, state, settings[i], i, numbers))
        return due

    def _recorded_update(self, due: "_Due") -> None:
        """The update; a rule in NumPy, which launches no kernel, is run again in every replay."""
        recorder: Any = here.recorder
        start = 0 if recorder is None else recorder.place()
        self._update_in_place(due)
        if recorder is not None and recorder.launches_since(start) is None:
            recorder.cut(start)
            recorder.stepped(lambda: self._update_in_place(due))

    def _update_in_place(self, due: "_Due") -> None:
        """The rule on C-contiguous arrays."""
        copy = kernels.use("copy")
        grad, p = copy.contiguous(due.grad), due.p.data
        if p.flags.c_contiguous:
            self._update(p, grad, due.state, due.settings, due.numbers)
        else:
            whole = copy.contiguous(p)
            self._update(whole, grad, due.state, due.settings, due.numbers)
            copy.copy_to(p, whole)

    def _check_ready(self, who: str, p: Tensor, state: dict[str, Any]) -> None:
        check_gradient(who, p)
        if not p.data.flags.writeable:
            raise ArgumentError(f"{who} has read-only data: give it a copy, p.data = p.data.copy()")
        for name, array in state.items():
            if isinstance(array, np.ndarray) and not alike(array, p):
                raise StateError(
                    f"{who} is {p.dtype} of shape {p.shape}, but its {name} is {array.dtype} of "
                    f"shape {array.shape}: make the optimizer after converting the model"
                )

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> list[float]:
        """Count a step in `state`, and return the numbers that the rule's kernel takes for it."""
        return []

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        """The rule: change `p` and arrays of `state` in place, all C-contiguous.

        `grad` and `numbers` (float64), what may change from step to step, are only read.
        """
        raise NotImplementedError

    # Saving

    def state_dict(self) -> dict[str, Any]:
        """All that `step` depends on but parameters and gradients, in plain dicts; arrays copied.

        {"groups": [{"lr": ..., "params": [0, 1]}, ...], "state": {"0": {...}, "1": {...}}}:
        parameters are numbered through the groups. One that has no state has no entry.
        """
        settings = self._all_plain("state_dict")
        groups: list[dict[str, Any]] = [
            {name: list(v) if isinstance(v, tuple) else v for name, v in plain.items()}
            | {"params": []}
            for plain in settings
        ]
        state = {}
        for i, number, p in self._numbered():
            groups[i]["params"].append(number)
            held = self._fit_state(p, settings[i])
            if held:
                state[str(number)] = {
                    name: v.copy() if isinstance(v, np.ndarray) else v for name, v in held.items()
                }
        return {"groups": groups, "state": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from where `state_dict` was taken: settings, counts and arrays.

        Raises one StateError that lists every missing, unexpected and misshaped name, and then
        leaves the optimizer as it was.
        """
        who = f"{self._who}.load_state_dict"
        optional = {f"groups.{i}.initial_lr" for i in range(len(self.param_groups))}
        values = load(who, state, self._rules(flatten(state)), optional)
        groups = []
        for i in range(len(self.param_groups)):
            groups.append(_below(f"groups.{i}.", values))
            try:
                self._check_together(f"group {i}", groups[i])
            except ArgumentError as error:
                raise StateError(f"{who} loaded nothing: {error}") from error
        for group, loaded in zip(self.param_groups, groups, strict=True):
            params = group["params"]
            group.clear()
            group.update({**loaded, "params": params})
        for _, number, p in self._numbered():
            self._state[p] = _below(f"state.{number}.", values)

    def _rules(self, leaves: dict[str, Any]) -> dict[str, Rule]:
        """What each name of a state to load must be, given its settings (which decide arrays)."""
        rules = {}
        for i, number, p in self._numbered():
            at = f"groups.{i}."
            settings = dict(self.param_groups[i])
            for name, rule in self.settings.items():
                found = rule.convert(leaves.get(at + name))
                settings[name] = settings.get(name) if found is None else found
                rules[at + name] = rule
            for name, (_, rule) in self.numbers.items():
                rules[f"state.{number}.{name}"] = rule
            for name in self._arrays(settings):
                rules[f"state.{number}.{name}"] = array_like(p.data)
        first = itertools.accumulate((len(g["params"]) for g in self.param_groups), initial=0)
        for i, (start, stop) in enumerate(itertools.pairwise(first)):
            rules[f"groups.{i}.params"] = counts(range(start, stop))
            rules[f"groups.{i}.initial_lr"] = FROM_ZERO
        return rules


def _below(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    """The entries whose name starts with `prefix`, without it."""
    return {name[len(prefix) :]: v for name, v in values.items() if name.startswith(prefix)}


class _Due(NamedTuple):
    """A parameter that a step updates: its gradient, state, the settings of its group, and the
    place of that group; and the array that holds the rule's numbers."""

    p: Tensor
    grad: np.ndarray
    state: dict[str, Any]
    settings: dict[str, Any]
    group: int
    numbers: np.ndarray


class _Counting:
    """What a replayed step does in Python: count the step, and look up the settings of now."""

    def __init__(self, optimizer: Optimizer, due: list[_Due]) -> None:
        self._optimizer, self._due = optimizer, due
        self._fixed = [_fixed(each.settings) for each in due]
        self._arrays = [_arrays(each.state) for each in due]
        self._params = self._all_params()

    def _all_params(self) -> list[Tensor]:
        return [p for group in self._optimizer.param_groups for p in group["params"]]

    def holds(self) -> bool:
        """Whether the same rule would be applied to the same arrays."""
        optimizer = self._optimizer
        params = self._all_params()
        if len(params) != len(self._params) or not all(map(operator.is_, params, self._params)):
            return False
        settings = optimizer._all_plain("step")
        return all(
            each.group < len(settings)
            and fixed == _fixed(settings[each.group])
            and optimizer._state.get(each.p) is each.state
            and arrays == _arrays(each.state)
            and each.p.requires_grad
            for each, fixed, arrays in zip(self._due, self._fixed, self._arrays, strict=True)
        )

    def advance(self) -> None:
        optimizer = self._optimizer
        settings = optimizer._all_plain("step")
        for each in self._due:
            each.settings.update(settings[each.group])
            each.numbers[:] = optimizer._numbers(each.state, each.settings)

    def save(self) -> list[dict[str, Any]]:
        return [
            {name: x for name, x in each.state.items() if not isinstance(x, np.ndarray)}
            for each in self._due
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        for each, numbers in zip(self._due, state, strict=True):
            for name in [n for n in each.state if n not in numbers]:
                if not isinstance(each.state[name], np.ndarray):
                    del each.state[name]
            each.state.update(numbers)


def _fixed(settings: dict[str, Any]) -> list[Any]:
    """What of the settings isn't read from memory: flags, and whether a number is 0."""
    return [value if isinstance(value, bool) else value != 0 for value in settings.values()]


def _arrays(state: dict[str, Any]) -> list[int]:
    return [id(value) for value in state.values() if isinstance(value, np.ndarray)]
