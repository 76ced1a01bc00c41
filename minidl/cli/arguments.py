"""What commands' arguments are."""

import argparse
import json
from typing import Any

__all__ = ["json_object", "rate", "whole"]


def whole(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return number


def rate(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return number


def json_object(text: str) -> dict[str, Any]:
    """Names and values, for argparse."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"expected JSON, got {text!r}: {error}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"expected names and values in JSON, got {text!r}")
    return found


whole.__name__, rate.__name__ = "whole number", "number"  # as argparse's errors call them
