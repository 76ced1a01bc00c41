"""What a network is made of, and what a run gave: summaries, drawings, plots, reports."""

from minidl.analysis.drawing import TapeDrawing, draw, draw_tape
from minidl.analysis.plots import (
    plot_activations,
    plot_filters,
    plot_receptive_fields,
    plot_saliency,
)
from minidl.analysis.profiling import Profile, profile
from minidl.analysis.report import report
from minidl.analysis.receptive import ReceptiveField, receptive_fields
from minidl.analysis.saliency import grad_cam, guided_saliency, occlusion
from minidl.analysis.summaries import Row, Summary, summary
from minidl.analysis.trace import Node, trace

__all__ = [
    "Node",
    "Profile",
    "ReceptiveField",
    "Row",
    "Summary",
    "TapeDrawing",
    "draw",
    "draw_tape",
    "grad_cam",
    "guided_saliency",
    "occlusion",
    "plot_activations",
    "plot_filters",
    "plot_receptive_fields",
    "plot_saliency",
    "profile",
    "receptive_fields",
    "report",
    "summary",
    "trace",
]
