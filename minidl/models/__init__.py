"""Networks, one family a file, and by name."""

from minidl.models.lenet import LeNet5, lenet5
from minidl.models.registry import create, load
from minidl.models.registry import names as list

__all__ = ["LeNet5", "create", "lenet5", "list", "load"]
