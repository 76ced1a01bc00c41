"""Object detection: boxes around things in pictures, and how right they are.

`measure` compares predictions with targets as the field does; `draw_boxes` shows them.
"""

from minidl.apps.detect.measuring import Figures, measure

__all__ = ["Figures", "measure"]
