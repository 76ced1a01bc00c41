"""Captured calls: kernel launches recorded once and replayed by one compiled loop."""

from minidl.capture.compiling import compile, is_own
from minidl.capture.compiled import Compiled

__all__ = ["Compiled", "compile", "is_own"]
