"""Every exception minidl raises on purpose.

Each is a MinidlError and also the builtin a caller would expect, so that both
`except MinidlError` and `except ValueError` work.
"""

__all__ = [
    "MinidlError",
    "ShapeError",
    "DTypeError",
    "ArgumentError",
    "IndexingError",
    "GradError",
    "StateError",
    "FileFormatError",
    "CaptureError",
    "CallError",
    "MissingAttributeError",
]


class MinidlError(Exception):
    """The root of minidl's exceptions."""


class ShapeError(MinidlError, ValueError):
    """An array has the wrong number of axes, or an axis has the wrong length."""


class DTypeError(MinidlError, TypeError):
    """An array or argument has the wrong type."""


class ArgumentError(MinidlError, ValueError):
    """A setting is out of its range, missing or contradictory."""


class IndexingError(MinidlError, IndexError):
    """An index names what an array doesn't have, or is none."""


class GradError(MinidlError, RuntimeError):
    """A gradient can't be computed, or is wrong, or is not finite."""


class StateError(MinidlError, ValueError):
    """A state (weights, optimizer, loader) doesn't fit what it is loaded into."""


class FileFormatError(MinidlError, ValueError):
    """A file is not what it should be: another format, truncated or damaged."""


class CaptureError(StateError):
    """A call can't be captured: replayed, it would not compute what it computes when called."""


class CallError(MinidlError, TypeError):
    """A function is called with an argument that it doesn't have."""


class MissingAttributeError(MinidlError, AttributeError):
    """An attribute or method that minidl doesn't have, or calls otherwise."""
