"""Recurrent layers. Each takes (N, T, input_size) and maybe a state, and returns the outputs
(N, T, hidden_size) and the last state."""

from typing import Any

from minidl import ops
from minidl.errors import ArgumentError
from minidl.nn import init
from minidl.nn.module import Module, Parameter, new_parameter
from minidl.nn.settings import positive

__all__ = ["GRU", "LSTM", "RNN"]


class _Recurrent(Module):
    """weight_ih: (input_size, gates*H); weight_hh: (H, gates*H); bias.

    Input weights start as Glorot's, state weights orthogonal gate by gate, biases 0.
    """

    gates: int

    def __init__(self, input_size: int, hidden_size: int) -> None:
        who = type(self).__name__
        self.input_size = positive(who, "input_size", input_size)
        self.hidden_size = positive(who, "hidden_size", hidden_size)
        self.weight_ih = new_parameter(input_size, self.gates * hidden_size)
        self.weight_hh = new_parameter(hidden_size, self.gates * hidden_size)
        self.bias = new_parameter(*self._bias_shape())
        init.xavier_uniform(self.weight_ih, fan_in=input_size, fan_out=hidden_size)
        for gate in range(self.gates):
            square = new_parameter(hidden_size, hidden_size)
            columns = slice(gate * hidden_size, (gate + 1) * hidden_size)
            self.weight_hh.data[:, columns] = init.orthogonal(square).data
        init.zeros(self.bias)

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.hidden_size,)

    def _weights(self) -> tuple[Parameter, Parameter, Parameter]:
        return self.weight_ih, self.weight_hh, self.bias

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


class RNN(_Recurrent):
    """h = tanh(x @ weight_ih + h @ weight_hh + bias).  state: h (N, H).  Source: Elman 1990."""

    function = ops.rnn

    gates = 1

    def forward(self, x: Any, state: Any = None) -> Any:
        return ops.rnn(x, *self._weights(), state)


class LSTM(_Recurrent):
    """Long short-term memory, gates i, f, g, o.  state: (h, c), each (N, H).

    The forget gate's bias starts at 1 (Jozefowicz et al. 2015).
    Source: Hochreiter and Schmidhuber 1997.
    """

    function = ops.lstm

    gates = 4

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.bias.data[hidden_size : 2 * hidden_size] = 1

    def forward(self, x: Any, state: Any = None) -> Any:
        if state is not None and (not isinstance(state, tuple | list) or len(state) != 2):
            got = getattr(state, "shape", None) or type(state).__name__
            raise ArgumentError(f"LSTM expected a state (h, c), each (N, H), got {got}")
        h, c = (None, None) if state is None else state
        outputs, h, c = ops.lstm(x, *self._weights(), h, c)
        return outputs, (h, c)


class GRU(_Recurrent):
    """Gated recurrent unit, gates z, r, h; bias (2, 3H), of inputs and of state.  state: h (N, H).

    Source: Cho et al. 2014, the form that resets after the product.
    """

    function = ops.gru

    gates = 3

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, self.gates * self.hidden_size)

    def forward(self, x: Any, state: Any = None) -> Any:
        return ops.gru(x, *self._weights(), state)
