"""What a network may be asked of an image; files, data sets and commands call it so."""

__all__ = ["CLASSES", "LABELS", "NUMBERS", "TASKS"]

CLASSES = "classes"  # which one of several it is of
LABELS = "labels"  # which of several it has: none, one or more
NUMBERS = "numbers"  # measurements, with fractions
TASKS = (CLASSES, LABELS, NUMBERS)
