"""Applications built on models: pictures out of networks.

`dream.dream` and `style.stylize` do what the commands `minidl dream` and `minidl style` do.
"""

from minidl.apps import dream, style

__all__ = ["dream", "style"]
