"""minidl: a deep-learning engine for CPUs, on NumPy, Numba and h5py."""

from minidl import ops as _ops
from minidl.autograd import *
from minidl.config import config, set_num_threads
from minidl.random import manual_seed
