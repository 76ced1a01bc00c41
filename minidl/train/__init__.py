"""Training: the loop, what it measures and who listens to it."""

from minidl.train.callbacks import Callback, ProgressBar
from minidl.train.checkpoint import Checkpoint
from minidl.train.history import History
from minidl.train.metrics import accuracy
from minidl.train.trainer import Trainer

__all__ = ["Callback", "Checkpoint", "History", "ProgressBar", "Trainer", "accuracy"]
