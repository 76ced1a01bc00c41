"""Layers, losses and networks: modules with named state."""

from minidl.nn import functional, init
from minidl.nn.activation import (
    ELU, Identity, LeakyReLU, LogSoftmax, ReLU, ReLU6, Sigmoid, Softmax, Tanh,
)  # fmt: skip
from minidl.nn.containers import ModuleList, Sequential
from minidl.nn.conv import (
    Conv2d, ConvTranspose2d, DepthwiseConv2d, PointwiseConv2d, SeparableConv2d,
)  # fmt: skip
from minidl.nn.linear import Embedding, Linear
from minidl.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, HuberLoss, L1Loss, MSELoss
from minidl.nn.module import Buffer, LoadReport, Module, Parameter
from minidl.nn.norm import BatchNorm1d, BatchNorm2d, LayerNorm, LocalResponseNorm
from minidl.nn.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from minidl.nn.recurrent import GRU, LSTM, RNN
from minidl.nn.shape import Dropout, Flatten, Upsample, ZeroPad2d

__all__ = [
    "AvgPool2d", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Buffer", "Conv2d",
    "ConvTranspose2d", "CrossEntropyLoss", "DepthwiseConv2d", "Dropout", "ELU", "Embedding",
    "Flatten", "GRU", "GlobalAvgPool2d", "HuberLoss", "Identity", "L1Loss", "LSTM", "LayerNorm",
    "LeakyReLU", "Linear", "LoadReport", "LocalResponseNorm", "LogSoftmax", "MSELoss",
    "MaxPool2d", "Module", "ModuleList", "Parameter", "PointwiseConv2d", "RNN", "ReLU", "ReLU6",
    "SeparableConv2d", "Sequential", "Sigmoid", "Softmax", "Tanh", "Upsample", "ZeroPad2d",
    "functional", "init",
]  # fmt: skip
