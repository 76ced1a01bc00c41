"""Following a model's activations through the ops of one run; see `provenance`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minidl.io import effects, expression
from minidl.io.axes import blended, reshaped
from minidl.io.expression import Expression
from minidl.io.moved import (
    MIXING,
    MOVING,
    ORDERS,
    REDUCTIONS,
    core,
    cut,
    elementwise,
    fitting,
    flattened,
    from_all,
    joined,
    mixed,
    rearranged,
    reduced,
    regrouped,
    taken_plain,
    transposed,
    unknown,
)
from minidl.io.provenance import OTHER, ROWS, Owner, Use, Value

__all__ = ["Tracker"]


@dataclass
class Tracker:
    """Follows the arrays of one run of a model.

    owners: by the id of an array of a module's own, where minidl doesn't know what the module
        does: whose it is, (module, role), the array's shape and whether it is plain; see Use.
    uses: of those that met activations, by (module, role).
    """

    values: dict[int, Value] = field(default_factory=dict)
    owners: dict[int, frozenset[Owner]] = field(default_factory=dict)
    uses: dict[tuple[str, str], list[Use]] = field(default_factory=dict)
    ending: set[str] = field(default_factory=set)  # the effects of outputs
    endings: list[Expression] = field(default_factory=list)  # of outputs
    mixed: set[str] = field(default_factory=set)  # layers whose channels the model gives as pixels
    alive: list[Any] = field(default_factory=list)  # as long as ids are compared
    batch: int = 1
    broken: str = ""  # why nothing more is known

    def put(self, array: np.ndarray, value: Value) -> None:
        self.values[id(array)] = value
        self.alive.append(array)

    def get(self, array: Any) -> Value | None:
        return self.values.get(id(array))

    def op(self, op: Any, arrays: Sequence[Any], settings: Any, output: np.ndarray) -> None:
        """What `register_op_hook` calls."""
        known = [(a, v) for a in arrays if (v := self.get(a)) is not None]
        if known and id(output) not in {id(a) for a, _ in known}:
            if op.is_yours and known[0][1].kind == ROWS:  # it may order features anew
                self.put(output, unknown(output))
            else:
                self.put(output, self._result(op.name, known, settings, output, arrays))
        for position, array in enumerate(arrays):
            for owner in self.owners.get(id(array), ()):
                if known:
                    self._used(owner, op.name, position, known[0][1], output)
                else:
                    self._made_of(owner, op.name, array, output)

    def own(self, array: np.ndarray, name: str, role: str) -> None:
        """Tell whose array it is."""
        self.owners[id(array)] = frozenset({((name, role), array.shape, True)})

    def _used(self, owner: Owner, op: str, position: int, value: Value, output: Any) -> None:
        who, shape, plain = owner
        made = self.get(output) or unknown(output)
        use = Use(op, position, shape, plain, value, made, output.shape)
        self.put(output, made.after(frozenset({effects.UNKNOWN})))
        self.uses.setdefault(who, []).append(use)

    def _made_of(self, owner: Owner, op: str, array: Any, output: Any) -> None:
        """An array made of a module's own is its own, too."""
        who, shape, plain = owner
        kept = op in ("reshape", "broadcast_to") or op not in MOVING | REDUCTIONS | MIXING | ORDERS
        kept = kept and (core(output.shape) == core(array.shape) or op == "broadcast_to")
        made = self.owners.get(id(output), frozenset())
        self.owners[id(output)] = made | {(who, shape if kept else output.shape, plain and kept)}
        self.alive.append(output)

    def end(self, output: np.ndarray) -> None:
        """An output of the model. A row that it shows as (N, a, b, c) may be an image or not, such
        as YOLO's (N, S, S, scores), and no layer tells."""
        value = self.get(output)
        if value is not None:
            self.endings.append(value.expression)
            self.ending |= effects.with_scale(value.effects, *value.scale)
        if value is not None and output.ndim == 4 and (value.mixed or blended(value.axes or ())):
            self.mixed |= {name for name, _ in value.sources}
        if value is None or value.kind != ROWS or output.ndim != 4:
            return
        if 1 not in (output.shape[1] * output.shape[2], output.shape[3]):
            for row in value.rows:
                if row.open:
                    row.forget()

    def _result(
        self,
        name: str,
        known: list[tuple[Any, Value]],
        settings: Any,
        output: Any,
        arrays: Sequence[Any],
    ) -> Value:
        x, value = known[0]
        if name == "reshape":
            made = self._reshaped(x, value, output)
        elif name == "transpose":
            made = transposed(x, value, output, settings.get("axes"))
        elif name == "concatenate":
            made = joined(known, settings["axis"], output, arrays)
            whole = len(known) == len(arrays)
            parts = [v.expression for _, v in known] if whole else [expression.UNKNOWN]
            return replace(
                made,
                effects=frozenset().union(*(v.effects for _, v in known)),
                expression=expression.applied(expression.JOIN, *parts),
            )
        elif name == "getitem":
            made = cut(x, value, output, settings["key"])
        elif name in REDUCTIONS:
            made = reduced(x, value, output)
        elif name in MIXING:
            made = mixed(value, output)
        elif name in ORDERS:
            made = unknown(output)
        else:
            made = elementwise(known, output)
        made = from_all(fitting(made, output), [v for _, v in known])
        done = effects.of_op(name, settings, value, x.shape, output.shape)
        merged = effects.of_merge(name, len({id(a) for a, _ in known}))
        after = effects.expressed(name, done, known, arrays, output.shape)
        made = replace(
            made,
            effects=made.effects | done | merged,
            pads=effects.padded(known, name, settings),
            expression=after,
        )
        return effects.scaled(made, name, arrays, value, len({id(a) for a, _ in known}) == 1)

    def _reshaped(self, x: Any, value: Value, output: Any) -> Value:
        axes = value.axes_of(x.shape)
        if axes is not None and output.ndim != 2:
            if output.shape[:1] != x.shape[:1]:
                self.broken = f"a reshape from {x.shape} to {output.shape} changes the batch"
            return rearranged(value, reshaped(axes, output.shape), x, output)
        if x.ndim and (not output.ndim or output.shape[0] != x.shape[0]):
            if value.kind != OTHER and output.ndim > 1:
                self.broken = f"a reshape from {x.shape} to {output.shape} changes the batch"
            return regrouped(x, value, output)
        if value.kind == ROWS:
            for row in value.rows if output.ndim == 2 else ():
                if row.raw:
                    row.forget()
            if output.ndim in (2, 4):
                return value
            plain = taken_plain(value)
            return Value(OTHER, exact=plain, doubtful=not plain, mixed=not plain)
        if output.ndim == 2:
            return Value(ROWS, flattened(x, value))
        if value.kind == OTHER and value.exact:
            return Value(OTHER, exact=True)
        return Value(OTHER, doubtful=True, mixed=value.mixed)
