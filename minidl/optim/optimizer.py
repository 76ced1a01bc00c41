"""What all optimizers share: their settings' rules, groups of parameters, and their state."""

import itertools
import math
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Annotated, Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.autograd import Tensor
from minidl.autograd.held import written
from minidl.errors import ArgumentError, StateError
from minidl.foreign import Advising, advice
from minidl.optim._checks import (
    alike,
    array_like,
    check_float,
    check_gradient,
    flatten,
    listed,
    load,
    tensors,
)
from minidl.optim._replay import Counting, Due
from minidl.optim._settings import Rule, check, counts, flag, real, set_by_signature, several, whole
from minidl.recording import before, here, owns

__all__ = ["Optimizer", "Params"]

# What a setting may be. The signature of an optimizer says which rule each of its settings has; it
# is applied when the optimizer is made, at every step, and to states that are loaded.
FROM_ZERO = Rule("a finite number from 0 up", real(lambda x: 0 <= x < math.inf))
FRACTION = Rule("a number from 0 to 1", real(lambda x: 0 <= x <= 1))
BELOW_ONE = Rule("a number from 0 to below 1", real(lambda x: 0 <= x < 1))
BETAS = Rule("two numbers from 0 to below 1", several(BELOW_ONE.convert, 2))
FLAG = Rule("True or False", flag)
COUNT = Rule("a whole number from 0 up", whole(0))

FromZero = Annotated[float, FROM_ZERO]
Fraction = Annotated[float, FRACTION]
Betas = Annotated[tuple[float, float], BETAS]
Flag = Annotated[bool, FLAG]

Params = Iterable[Tensor] | Iterable[dict[str, Any]]


class Optimizer(Advising):
    """Base class: holds the groups and the state; a subclass gives the update rule.

    params: an iterable of float tensors, or of dicts `{"params": [...], "lr": ..., ...}` whose
        other keys are settings that differ from the defaults.
    A subclass declares its settings in the signature of `__init__`, under `@set_by_signature`;
    `_arrays` and `_counts` name the state it needs; `_update` is the rule, in NumPy or a call of a
    kernel. Its `samples` are settings for tests, which find it by itself: see `Lion`.
    Raises ArgumentError for a setting out of range, an unknown one, or a tensor given twice;
    DTypeError for what is no float tensor.
    """

    settings: ClassVar[dict[str, Rule]] = {}
    samples: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    elementwise: ClassVar[bool] = True  # each number moves as it would in a tensor of its own

    @set_by_signature
    def __init__(self, params: Params) -> None: ...

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.settings = getattr(cls.__init__, "settings", cls.settings)

    def _begin(self, params: Params, defaults: dict[str, Any]) -> None:
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
        """Optimize more parameters: `{"params": [...]}` and the settings that differ.

        Raises ArgumentError for a dict without "params", and as the constructor does; it then
        leaves the optimizer as it was.
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
            self._fit_state(p, self._layout(plain))

    def _check_new(self, who: str, p: Tensor) -> None:
        if p in self._state:
            raise ArgumentError(f"{who} is in another group already: give each tensor once")
        check_float(who, p)
        if p.requires_grad and p.edge is not p:
            raise ArgumentError(
                f"{who} was computed from other tensors: optimize those, or .detach() it"
            )

    def _plain(self, who: str, group: dict[str, Any]) -> dict[str, Any]:
        """The settings of a group, checked and in plain Python. Groups are dicts that anyone may
        write to, so this is asked at every step."""
        known = {**self.settings, "initial_lr": FROM_ZERO}
        unknown = [name for name in group if name not in known and name != "params"]
        missing = [name for name in self.settings if name not in group]
        if unknown:
            raise ArgumentError(
                f"{who} got the unknown setting {unknown[0]!r}: {advice(unknown[0], self.settings)}"
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

    def _counts(self, settings: dict[str, Any]) -> dict[str, tuple[float, Rule]]:
        """Numbers that the rule keeps for a parameter: by name, the first value and its rule."""
        return {}

    def _layout(self, settings: dict[str, Any]) -> dict[str, float | None]:
        """What the rule keeps for a parameter: by name, the first value, or None for an array.

        So SGD without momentum holds no memory; turned off, momentum is forgotten.
        """
        layout: dict[str, float | None] = {
            n: first for n, (first, _) in self._counts(settings).items()
        }
        return layout | dict.fromkeys(self._arrays(settings))

    def _fit_state(self, p: Tensor, layout: dict[str, float | None]) -> dict[str, Any]:
        """Return the state of `p`: what its layout says, and nothing else."""
        state = self._state.setdefault(p, {})
        if state.keys() != layout.keys():
            kept = {**state}
            state.clear()
            for name, first in layout.items():
                if name in kept:
                    state[name] = kept[name]
                else:
                    state[name] = np.zeros(p.shape, p.dtype) if first is None else first
        return state

    def _numbered(self) -> Iterator[tuple[int, int, Tensor]]:
        """Every parameter, with the place of its group and its own number through all groups."""
        number = itertools.count()
        for i, group in enumerate(self.param_groups):
            for p in group["params"]:
                yield i, next(number), p

    def _all_plain(self, who: str) -> list[dict[str, Any]]:
        """Return the checked settings of each group."""
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
        profiler = here.profiler
        start = 0.0 if profiler is None else perf_counter()
        due = self._due()
        self._advance(due)
        for each in due:
            self._update_in_place(each)
            written(each.p.data, f"{self._who}.step()")
            owns(each.p.data, *(a for a in each.state.values() if isinstance(a, np.ndarray)))
        before(Counting(self, due))
        if profiler is not None:
            profiler.did("optimizer", self._who, start)

    def _due(self) -> list[Due]:
        """Return what a step would update now, all of it checked."""
        settings = self._all_plain("step")
        sizes = [len(self._values(each)) + len(self._counts(each)) for each in settings]
        layouts = [self._layout(each) for each in settings]
        due = []
        for i, number, p in self._numbered():
            grad = p.grad
            if grad is not None and p.requires_grad:
                state = self._fit_state(p, layouts[i])
                self._check_ready(f"{self._who}.step, parameter {number},", p, state)
                due.append(Due(p, grad, state, settings[i], i, np.empty(sizes[i])))
        return due

    def _advance(self, due: list[Due]) -> None:
        """Count a step of each, and write the numbers that kernels read: values, then counts."""
        known: dict[int, tuple[list[float], list[str]]] = {}  # by group
        for _, _, state, settings, group, numbers in due:
            if group not in known:
                known[group] = [*self._values(settings).values()], [*self._counts(settings)]
            values, counted = known[group]
            self._count(state, settings)
            numbers[:] = values + [state[name] for name in counted]

    def _update_in_place(self, due: Due) -> None:
        """The rule on C-contiguous arrays."""
        copy = kernels.use("copy")
        grad, p = copy.contiguous(due.grad), due.p.data
        if p.flags.c_contiguous:
            self._recorded_update(p, grad, due)
        else:
            whole = copy.contiguous(p)
            self._recorded_update(whole, grad, due)
            copy.copy_to(p, whole)

    def _recorded_update(self, p: np.ndarray, grad: np.ndarray, due: Due) -> None:
        """The rule; one in NumPy, which launches no kernel, is run again in every replay."""
        recorder: Any = here.recorder
        start = 0 if recorder is None else recorder.place()
        self._update(p, grad, due.state, due.settings, due.numbers)
        if recorder is not None and recorder.launches_since(start) is None:
            recorder.cut(start)
            recorder.stepped(lambda: self._update(p, grad, due.state, due.settings, due.numbers))

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

    def _values(self, settings: dict[str, Any]) -> dict[str, float]:
        """The settings that are numbers, in the order of the signature; betas are beta1, beta2."""
        found: dict[str, float] = {}
        for name in self.settings:
            value = settings[name]
            if isinstance(value, tuple):
                found.update((f"{name[:-1]}{i}", x) for i, x in enumerate(value, 1))
            elif not isinstance(value, bool):
                found[name] = value
        return found

    def _count(self, state: dict[str, Any], settings: dict[str, Any]) -> None:
        """Count a step in `state`: it is the one that `_update` makes next."""
        if "step" in state:
            state["step"] += 1

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], settings: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        """The rule: change `p` and arrays of `state` in place, all C-contiguous.

        settings: of now, in plain Python.  numbers: those and the counts as float64, for kernels,
        which find in this array what it is when a captured step is replayed. Both are only read,
        as is `grad`.
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
            held = self._fit_state(p, self._layout(settings[i]))
            if held:
                state[str(number)] = {
                    name: v.copy() if isinstance(v, np.ndarray) else v for name, v in held.items()
                }
        return {"groups": groups, "state": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from where `state_dict` was taken: settings, counts and arrays.

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
        """Map each name of a state to its rule, given its settings, which decide what it holds."""
        rules = {}
        for i, number, p in self._numbered():
            at = f"groups.{i}."
            settings = dict(self.param_groups[i])
            for name, rule in self.settings.items():
                found = rule.convert(leaves.get(at + name))
                settings[name] = settings.get(name) if found is None else found
                rules[at + name] = rule
            for name, (_, rule) in self._counts(settings).items():
                rules[f"state.{number}.{name}"] = rule
            for name in self._arrays(settings):
                rules[f"state.{number}.{name}"] = array_like(p.data)
        first = itertools.accumulate((len(g["params"]) for g in self.param_groups), initial=0)
        for i, (start, stop) in enumerate(itertools.pairwise(first)):
            rules[f"groups.{i}.params"] = counts(range(start, stop))
            rules[f"groups.{i}.initial_lr"] = FROM_ZERO
        return rules


def _below(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the entries whose name starts with `prefix`, without it."""
    return {name[len(prefix) :]: v for name, v in values.items() if name.startswith(prefix)}
