"""Whether a model does between its layers what a file says of its network."""

from collections.abc import Callable

from minidl.errors import StateError
from minidl.io import effects
from minidl.io.foreign import Found
from minidl.io.pairing import Pair, Pairing
from minidl.io.provenance import Pads
from minidl.io.zeros import Flow

__all__ = ["check_computation"]


def check_computation(
    pairing: Pairing, found: Found, flow: Callable[[], Flow], strict: bool
) -> list[str]:
    """What layers without weights do otherwise, in words, for the report.

    Raises StateError with `strict`, but for a last softmax or sigmoid: many models give the scores
    before it.
    """
    told = [pair for pair in pairing.pairs if pair.layer.settings.get("effects") is not None]
    if not told:
        return []
    seen = flow()
    if seen.why:
        return [f"activations and pooling weren't compared with the file's: {seen.why}"]
    wrong = [what for pair in told if (what := _different(pair, seen)) is not None]
    unsure = [p.slot.name for p in told if effects.unsure(
        seen.effects.get(p.slot.name), p.layer.settings["effects"])]  # fmt: skip
    notes = [f"what comes before it wasn't compared: {', '.join(unsure)}"] if unsure else []
    if not pairing.rest and (what := effects.differ(seen.ending, found.ending)) is not None:
        one, two = (e - effects.ENDINGS for e in (seen.ending, found.ending or frozenset()))
        (notes if one == two else wrong).append(f"at the end: {what}")
    if wrong and strict:
        raise StateError(
            "load_weights: the model does something else between its layers than the file's "
            f"network: {'; '.join(wrong)}. Make it the same, or load with strict=False: the report "
            "then lists this"
        )
    return wrong + notes


def _different(pair: Pair, seen: Flow) -> str | None:
    slot, settings = pair.slot, pair.layer.settings
    name = slot.name or "the model itself"
    what = effects.differ(seen.effects.get(slot.name), settings["effects"])
    if what is not None:
        return f"before {name}: {what}"
    ours, theirs = seen.pads.get(slot.name), settings.get("pads")
    if slot.kind not in ("convolution", "depthwise", "transposed") or pair.layer.kind != slot.kind:
        return None
    if ours is None or theirs is None or ours == theirs:
        return None
    return (
        f"{name}: padding is {_sides(ours)} in all, in the file {_sides(theirs)} (top, bottom, "
        "left, right)"
    )


def _sides(pads: Pads) -> str:
    return str(pads[0] if len(set(pads)) == 1 else pads)
