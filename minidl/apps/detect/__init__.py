"""Detection: objects found in images."""

from minidl.apps.detect.ssd import SSD

__all__ = ["SSD"]
