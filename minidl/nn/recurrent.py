"""Recurrent layers. Each takes (N, T, input_size) and maybe a state, and returns the outputs
(N, T, directions*hidden_size) of its last layer, and the last state.

num_layers: each takes the outputs of the one before it, in training after `dropout`.
bidirectional: each layer also runs over the reversed sequence, with weights of its own, and joins
    the outputs of both directions on the last axis.
Parameters: weight_ih (input_size, gates*H), weight_hh (H, gates*H), bias. With several layers or
directions their names end in _l0, _l0_reverse, _l1, ..., as in PyTorch, and weight_ih of the layers
after the first is (directions*H, gates*H). A state is then (num_layers*directions, N, H), in the
order of these names.
lengths=: in a call, how many steps of each row count, whole numbers (N,), for a batch of sequences
    filled up to one length. The outputs after a row's length are 0, its last state is that after
    its own last step, and the reversed direction starts there: what PyTorch does with
    `pack_padded_sequence`, in any order of lengths.
"""

from typing import Any

from minidl import ops
from minidl.checks import flag, positive, real
from minidl.errors import ArgumentError, ShapeError
from minidl.nn import init
from minidl.nn.checks import check_array
from minidl.nn.module import Module, Parameter, new_parameter
from minidl.nn.stored import Stored
from minidl.ops._recurrent import without_padding
from minidl.ops.rnn import check_nonlinearity

__all__ = ["GRU", "LSTM", "RNN"]


def _stored(kind: str, keras: str, **axes: str) -> Stored:
    arrays = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh", "bias": "bias"}
    return Stored(kind, axes, keras, arrays, needed=2, cell=True)


class _Recurrent(Module):
    """Input weights start as Glorot's, state weights orthogonal gate by gate, biases 0."""

    gates: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        who = type(self).__name__
        self.input_size = positive(who, "input_size", input_size)
        self.hidden_size = positive(who, "hidden_size", hidden_size)
        self.num_layers = positive(who, "num_layers", num_layers)
        self.dropout = real(who, "dropout", dropout)
        self.bidirectional = flag(who, "bidirectional", bidirectional)
        if not 0 <= self.dropout <= 1:
            raise ArgumentError(f"{who}: dropout must be a probability from 0 to 1, got {dropout}")
        if self.dropout and self.num_layers == 1:
            raise ArgumentError(
                f"{who}: dropout acts between layers, but num_layers is 1, with dropout={dropout}: "
                "make more layers, or use nn.Dropout on the outputs"
            )
        for number, suffixes in enumerate(self._suffixes()):
            for suffix in suffixes:
                self._add(hidden_size * len(suffixes) if number else input_size, suffix)

    def _suffixes(self) -> list[tuple[str, ...]]:
        """How the names of the parameters end: for each layer, those of its directions."""
        if self.num_layers == 1 and not self.bidirectional:
            return [("",)]
        ends = ("", "_reverse") if self.bidirectional else ("",)
        return [tuple(f"_l{i}{end}" for end in ends) for i in range(self.num_layers)]

    def _add(self, width: int, suffix: str) -> None:
        """The parameters of one layer in one direction, which takes `width` features."""
        size = self.hidden_size
        weight_ih = new_parameter(width, self.gates * size)
        weight_hh = new_parameter(size, self.gates * size)
        bias = new_parameter(*self._bias_shape())
        init.xavier_uniform(weight_ih, fan_in=width, fan_out=size)
        for gate in range(self.gates):
            square = new_parameter(size, size)
            weight_hh.data[:, gate * size : (gate + 1) * size] = init.orthogonal(square).data
        self._start(bias)
        setattr(self, f"weight_ih{suffix}", weight_ih)
        setattr(self, f"weight_hh{suffix}", weight_hh)
        setattr(self, f"bias{suffix}", bias)

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.hidden_size,)

    def _start(self, bias: Parameter) -> None:
        init.zeros(bias)

    def _settings(self) -> dict[str, Any]:
        """What the op takes besides arrays."""
        return {}

    def _run(self, x: Any, lengths: Any, *state: Any) -> tuple[Any, ...]:
        """The outputs, and each part of the last state. state: its parts, or None for zeros."""
        suffixes = self._suffixes()
        if lengths is not None:
            check_array(type(self).__name__, x)
            x = without_padding(self.function.name, x, lengths)
        if suffixes == [("",)]:
            return self._one(x, "", state, lengths)
        starts = self._split(x, state)
        last: list[tuple[Any, ...]] = []
        for number, ends in enumerate(suffixes):
            if number and self.dropout:
                x = ops.dropout(x, self.dropout, self.training)
            outputs = []
            for end in ends:
                y, *parts = self._one(x, end, starts[len(last)], lengths)
                outputs.append(y)
                last.append(tuple(parts))
            x = ops.concatenate(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
        # each part (layers*directions, N, H)
        return (x, *(ops.stack(part, axis=0) for part in zip(*last, strict=True)))

    def _one(self, x: Any, suffix: str, state: tuple[Any, ...], lengths: Any) -> tuple[Any, ...]:
        """One layer in one direction."""
        names = (f"weight_ih{suffix}", f"weight_hh{suffix}", f"bias{suffix}")
        weights = (getattr(self, name) for name in names)
        settings = {"reverse": suffix.endswith("_reverse"), **self._settings()}
        return self.function(x, *weights, *state, lengths, **settings)

    def _split(self, x: Any, state: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The state of each layer and direction."""
        who, count = type(self).__name__, sum(map(len, self._suffixes()))
        check_array(who, x)
        for i, part in enumerate(state):
            if part is None:
                continue
            check_array(f"{who}'s state", part)
            expected = (count, len(x), self.hidden_size)
            if part.shape != expected:
                name = f"state[{i}]" if len(state) > 1 else "state"
                raise ShapeError(
                    f"{who} expected {name} of shape {expected}, (num_layers*directions, N, H), "
                    f"got {part.shape}"
                )
        return [tuple(None if part is None else part[i] for part in state) for i in range(count)]

    def extra_repr(self) -> str:
        parts = [str(self.input_size), str(self.hidden_size)]
        parts += [f"num_layers={self.num_layers}"] * (self.num_layers > 1)
        parts += [f"dropout={self.dropout:g}"] * (self.dropout > 0)
        parts += ["bidirectional=True"] * self.bidirectional
        return ", ".join(parts)


class RNN(_Recurrent):
    """h = tanh(x @ weight_ih + h @ weight_hh + bias).  state: h (N, H).

    dropout: between layers, in training. With several layers or `bidirectional`, parameters are
    called weight_ih_l0, weight_ih_l0_reverse, ... and each part of the state is
    (num_layers*directions, N, H), as in PyTorch.
    lengths: in a call, how many steps of each row count, (N,). Outputs after them are 0, and the
    last state is that of a row's own last step.
    nonlinearity: "tanh" or "relu".
    Raises as `ops.rnn` does, and ArgumentError for sizes below 1 and for dropout without a second
    layer.
    Source: Elman 1990.
    """

    function = ops.rnn
    stored = _stored(
        "rnn", "SimpleRNN", weight_ih="in hidden", weight_hh="hidden hidden", bias="hidden"
    )

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        self.nonlinearity = check_nonlinearity("RNN", nonlinearity)
        super().__init__(
            input_size, hidden_size, num_layers, dropout=dropout, bidirectional=bidirectional
        )

    def _settings(self) -> dict[str, Any]:
        return {"nonlinearity": self.nonlinearity}

    def forward(self, x: Any, state: Any = None, *, lengths: Any = None) -> Any:
        return self._run(x, lengths, state)

    def extra_repr(self) -> str:
        end = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity!r}"
        return super().extra_repr() + end


class LSTM(_Recurrent):
    """Long short-term memory, gates i, f, g, o.  state: (h, c), each (N, H).

    dropout: between layers, in training. With several layers or `bidirectional`, parameters are
    called weight_ih_l0, weight_ih_l0_reverse, ... and each part of the state is
    (num_layers*directions, N, H), as in PyTorch.
    lengths: in a call, how many steps of each row count, (N,). Outputs after them are 0, and the
    last state is that of a row's own last step.
    The forget gate's bias starts at 1 (Jozefowicz et al. 2015).
    Raises as `ops.lstm` does, and ArgumentError for sizes below 1 and for dropout without a second
    layer.
    Source: Hochreiter and Schmidhuber 1997; both directions: Graves and Schmidhuber 2005.
    """

    function = ops.lstm
    stored = _stored("lstm", "LSTM", weight_ih="in ifgo*hidden", weight_hh="hidden ifgo*hidden")

    gates = 4

    def _start(self, bias: Parameter) -> None:
        init.zeros(bias)
        bias.data[self.hidden_size : 2 * self.hidden_size] = 1

    def forward(self, x: Any, state: Any = None, *, lengths: Any = None) -> Any:
        if state is not None and (not isinstance(state, tuple | list) or len(state) != 2):
            got = getattr(state, "shape", None) or type(state).__name__
            raise ArgumentError(f"LSTM expected a state (h, c), each (N, H), got {got}")
        h, c = (None, None) if state is None else state
        outputs, h, c = self._run(x, lengths, h, c)
        return outputs, (h, c)


class GRU(_Recurrent):
    """Gated recurrent unit, gates z, r, h; bias (2, 3H), of inputs and of state.  state: h (N, H).

    dropout: between layers, in training. With several layers or `bidirectional`, parameters are
    called weight_ih_l0, weight_ih_l0_reverse, ... and each part of the state is
    (num_layers*directions, N, H), as in PyTorch.
    lengths: in a call, how many steps of each row count, (N,). Outputs after them are 0, and the
    last state is that of a row's own last step.
    Raises as `ops.gru` does, and ArgumentError for sizes below 1 and for dropout without a second
    layer.
    Source: Cho et al. 2014, the form that resets after the product.
    """

    function = ops.gru
    stored = _stored("gru", "GRU", weight_ih="in zrh*hidden", weight_hh="hidden zrh*hidden")

    gates = 3

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, self.gates * self.hidden_size)

    def forward(self, x: Any, state: Any = None, *, lengths: Any = None) -> Any:
        return self._run(x, lengths, state)
