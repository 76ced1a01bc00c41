"""Training: the loop, what it measures, who listens to it, and transfer learning.

`train`, `find_lr`, `finetune`, `evaluate`, `predict`, `explain` and `find_issues` do what the
commands of these names do.
"""

from minidl.train.balance import class_weights
from minidl.train.callbacks import Callback, ProgressBar
from minidl.train.checkpoint import Checkpoint
from minidl.train.ensemble import Snapshots, ensemble, evaluate_ensemble
from minidl.train.evaluating import Evaluation, evaluate
from minidl.train.explaining import Explanation, explain
from minidl.train.features import extract_features
from minidl.train.finetuning import finetune
from minidl.train.guards import ClipGradients, NaNGuard
from minidl.train.history import History
from minidl.train.issues import Issues, find_issues
from minidl.train.linear import LinearClassifier
from minidl.train.logs import CSVLog, TensorBoardLog
from minidl.train.metrics import (
    accuracy, balanced_accuracy, binary_accuracy, classification_report, confusion_matrix,
    macro_f1, precision_recall, rank_accuracy, worst_mistakes,
)  # fmt: skip
from minidl.train.mixup import CutMix, MixUp
from minidl.train.monitor import TrainingMonitor, plot_history
from minidl.train.predicting import Prediction, predict
from minidl.train.range_finder import find_learning_rate
from minidl.train.rate_finding import find_lr
from minidl.train.run import Run
from minidl.train.stopping import EarlyStopping
from minidl.train.surgery import freeze_to, rates_by_depth
from minidl.train.trainer import Trainer
from minidl.train.training import train
from minidl.train.transfer import Approach, Transfer

__all__ = [
    "Approach", "CSVLog", "Callback", "Checkpoint", "ClipGradients", "CutMix", "EarlyStopping",
    "Evaluation", "Explanation", "History", "Issues", "LinearClassifier", "MixUp", "NaNGuard",
    "Prediction", "ProgressBar", "Run", "Snapshots", "TensorBoardLog", "Trainer",
    "TrainingMonitor", "Transfer", "accuracy", "balanced_accuracy", "binary_accuracy",
    "class_weights", "classification_report", "confusion_matrix", "ensemble", "evaluate",
    "evaluate_ensemble", "explain", "extract_features", "find_issues", "find_learning_rate",
    "find_lr", "finetune", "freeze_to", "macro_f1",
    "plot_history", "precision_recall", "predict", "rank_accuracy", "rates_by_depth", "train",
    "worst_mistakes",
]  # fmt: skip
