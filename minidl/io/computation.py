"""Whether a model does between its layers what a file says of its network."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from minidl.errors import StateError
from minidl.io import effects, expression
from minidl.io.expression import Expression
from minidl.io.foreign import Found
from minidl.io.pairing import Pair, Pairing
from minidl.io.provenance import Pads
from minidl.io.zeros import Flow

__all__ = ["check_computation"]


def check_computation(
    pairing: Pairing, found: Found, flow: Callable[[], Flow], strict: bool, scaled: bool = True
) -> list[str]:
    """What layers without weights do otherwise, in words, for the report.

    scaled: whether the model must scale its inputs as the file's network does; otherwise whoever
    calls it does.
    Raises StateError with `strict`, but for a last softmax or sigmoid: many models give the scores
    before it.
    """
    told = [pair for pair in pairing.pairs if pair.layer.told.effects is not None]
    if not told:
        return []
    for pair in told if scaled else ():
        said = pair.layer.told
        scaled_too = effects.with_scale(said.effects, *said.scale)
        pair.layer.told = replace(said, effects=scaled_too)
    seen = flow()
    if seen.why:
        return [f"activations and pooling weren't compared with the file's: {seen.why}"]
    alike = _alike(pairing.pairs, seen, found)
    wrong = [what for pair in told if (what := _different(pair, seen, alike)) is not None]
    unsure = [p.slot.name for p in told if effects.unsure(
        seen.effects.get(p.slot.name), p.layer.told.effects)]  # fmt: skip
    notes = [f"what comes before it wasn't compared: {', '.join(unsure)}"] if unsure else []
    if not pairing.rest and (what := effects.differ(seen.ending, found.ending)) is not None:
        one, two = (e - effects.ENDINGS for e in (seen.ending, found.ending or frozenset()))
        (notes if one == two else wrong).append(f"at the end: {what}")
    if not pairing.rest and not wrong and len(seen.endings) == len(found.endings):
        for ours, theirs in zip(seen.endings, found.endings, strict=True):
            if what is not None:  # which is told
                ours, theirs = expression.scores(ours), expression.scores(theirs)
            if (other := _in_other_order(ours, theirs, alike)) is not None:
                wrong.append(f"at the end: {other}")
    if wrong and strict:
        raise StateError(
            "load_weights: the model does something else between its layers than the file's "
            f"network: {'; '.join(wrong)}. Make it the same, or load with strict=False: the report "
            "then lists this"
        )
    return wrong + notes


def _alike(
    pairs: list[Pair], seen: Flow, found: Found
) -> Callable[[Expression, Expression], bool | None]:
    """Whether an output of a layer of the model is that of one in the file; None where one has no
    partner."""
    slots = {pair.layer.told.name: pair.slot.name for pair in pairs}
    known = set(slots.values())

    def alike(ours: Expression, theirs: Expression) -> bool | None:
        if ours.name not in known or theirs.name not in slots:
            return None
        if seen.first_name(slots[theirs.name]) != seen.first_name(ours.name):
            return False
        return of_the_same(
            seen.roots.get((seen.first_name(ours.name), ours.call)),
            found.roots.get((theirs.name, theirs.call)),
        )

    def of_the_same(ours: Any, theirs: Any) -> bool:
        """Whether two calls of a shared layer come from the same; True where that isn't known."""
        if ours is None or theirs is None or (("input", "") in ours) != (("input", "") in theirs):
            return True
        if not {name for op, name in theirs if op == "layer"} <= slots.keys():
            return True
        there = {(op, seen.first_name(slots[n]) if op == "layer" else n) for op, n in theirs}
        return {(op, seen.first_name(n) if op == "layer" else n) for op, n in ours} == there

    return alike


def _in_other_order(ours: Expression, theirs: Expression, alike: Any) -> str | None:
    if expression.same(ours, theirs, alike) is not False:
        return None
    here, there = expression.in_words(ours), expression.in_words(theirs)
    if here == there:  # but for what a layer that is called several times takes
        return f"{here}: the calls of a layer take other inputs here than in the file"
    return f"{here} here, {there} in the file"


def _different(pair: Pair, seen: Flow, alike: Any) -> str | None:
    slot, said = pair.slot, pair.layer.told
    name = slot.name or "the model itself"
    what = effects.differ(seen.effects.get(slot.name), said.effects)
    if what is None and slot.name in seen.expressions:
        what = _in_other_order(seen.expressions[slot.name], said.expression, alike)
    if what is not None:
        return f"before {name}: {what}"
    our_pads, their_pads = seen.pads.get(slot.name), said.pads
    if slot.kind not in ("convolution", "depthwise", "transposed") or pair.layer.kind != slot.kind:
        return None
    if our_pads is None or their_pads is None or our_pads == their_pads:
        return None
    return (
        f"{name}: padding is {_sides(our_pads)} in all, in the file {_sides(their_pads)} (top, "
        "bottom, left, right)"
    )


def _sides(pads: Pads) -> str:
    return str(pads[0] if len(set(pads)) == 1 else pads)
