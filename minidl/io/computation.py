"""Whether a model does between its layers what a file says of its network."""

from collections.abc import Callable
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
    told = [pair for pair in pairing.pairs if pair.layer.settings.get("effects") is not None]
    if not told:
        return []
    for pair in told if scaled else ():
        settings = pair.layer.settings
        settings["effects"] = effects.with_scale(settings["effects"], *settings["scale"])
    seen = flow()
    if seen.why:
        return [f"activations and pooling weren't compared with the file's: {seen.why}"]
    alike = _alike(pairing.pairs, seen)
    wrong = [what for pair in told if (what := _different(pair, seen, alike)) is not None]
    unsure = [p.slot.name for p in told if effects.unsure(
        seen.effects.get(p.slot.name), p.layer.settings["effects"])]  # fmt: skip
    notes = [f"what comes before it wasn't compared: {', '.join(unsure)}"] if unsure else []
    if not pairing.rest and (what := effects.differ(seen.ending, found.ending)) is not None:
        one, two = (e - effects.ENDINGS for e in (seen.ending, found.ending or frozenset()))
        (notes if one == two else wrong).append(f"at the end: {what}")
    elif not pairing.rest and len(seen.endings) == len(found.endings) == 1:
        what = _in_other_order(seen.endings[0], found.endings[0], alike)
        wrong += [] if what is None else [f"at the end: {what}"]
    if wrong and strict:
        raise StateError(
            "load_weights: the model does something else between its layers than the file's "
            f"network: {'; '.join(wrong)}. Make it the same, or load with strict=False: the report "
            "then lists this"
        )
    return wrong + notes


def _alike(pairs: list[Pair], seen: Flow) -> Callable[[str, str], bool | None]:
    """Whether a layer of the model is that of a name in the file; None where one has no partner."""
    slots = {pair.layer.settings["old name"]: pair.slot.name for pair in pairs}
    known = set(slots.values())

    def alike(ours: str, theirs: str) -> bool | None:
        if ours not in known or theirs not in slots:
            return None
        return seen.first_name(slots[theirs]) == seen.first_name(ours)

    return alike


def _in_other_order(ours: Expression, theirs: Expression, alike: Any) -> str | None:
    if expression.same(ours, theirs, alike) is not False:
        return None
    return f"{expression.in_words(ours)} here, {expression.in_words(theirs)} in the file"


def _different(pair: Pair, seen: Flow, alike: Any) -> str | None:
    slot, settings = pair.slot, pair.layer.settings
    name = slot.name or "the model itself"
    what = effects.differ(seen.effects.get(slot.name), settings["effects"])
    if what is None and slot.name in seen.expressions:
        theirs = settings.get("expression", expression.UNKNOWN)
        what = _in_other_order(seen.expressions[slot.name], theirs, alike)
    if what is not None:
        return f"before {name}: {what}"
    our_pads, their_pads = seen.pads.get(slot.name), settings.get("pads")
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
