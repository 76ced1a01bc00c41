"""All of minidl's transforms, exported or not, and those that take boxes along."""

from minidl.data.transforms import BoxTransform, Transform, base


def _subclasses(kind):
    return {kind}.union(*(_subclasses(each) for each in kind.__subclasses__()))


def _is_own(kind):
    return kind.__module__.startswith("minidl.") and kind.__module__ != base.__name__


KINDS = sorted(filter(_is_own, _subclasses(Transform)), key=lambda kind: kind.__name__)
BOX_KINDS = sorted(
    filter(_is_own, _subclasses(BoxTransform) - {BoxTransform}), key=lambda kind: kind.__name__
)
