"""Networks, one family a file."""

from minidl.models.lenet import LeNet5, lenet5

__all__ = ["LeNet5", "lenet5"]
