"""The figures that plots return (extra `plots`)."""

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["Picture"]


class Picture(Figure):
    """A matplotlib Figure without a window, which shows itself in a notebook.

    A plain Figure does so only after somebody has imported pyplot.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows."""
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()
