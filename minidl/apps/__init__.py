"""Applications built on models: pictures out of networks.

`dream.dream` and `style.stylize` do what the commands `minidl dream` and `minidl style` do;
`fast_style` trains a network for one style, which paints in one pass.
"""

from minidl.apps import dream, fast_style, style

__all__ = ["dream", "fast_style", "style"]
