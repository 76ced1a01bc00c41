"""Arguments to compare kernels of recurrent layers and embeddings with their twins on."""

from hypothesis import strategies as st
from window_arguments import Numbers, dtypes


@st.composite
def sequences(draw):
    """Numbers, the sizes N, T and H, lengths or None, and whether the rows run backwards."""
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    n, steps = draw(st.sampled_from([0, 1, 2, 7, 13, 21])), draw(st.sampled_from([1, 2, 5]))
    size = draw(st.sampled_from([1, 17, 70]))
    lengths = numbers.random.integers(1, steps + 1, n) if draw(st.booleans()) else None
    return numbers, (n, steps, size), lengths, draw(st.booleans())


@st.composite
def entering_arguments(draw, name):
    numbers, (n, steps, size), lengths, reverse = draw(sequences())
    return numbers(n, steps, size), numbers(n, size), lengths, reverse


@st.composite
def lstm_arguments(draw, name):
    numbers, (n, steps, size), lengths, reverse = draw(sequences())
    weight = numbers(size, 4 * size) / numbers.dtype(size**0.5)
    h, c, inputs = numbers(n, size), numbers(n, size), numbers(n, steps, 4 * size)
    if name == "lstm":
        return inputs, weight, h, c, lengths, reverse, draw(st.booleans())
    from minidl.reference.lstm import lstm

    *_, gates, cells = lstm(inputs, weight, h, c, lengths, reverse, True)
    dh, dc = (numbers(n, size) if draw(st.booleans()) else None for _ in range(2))
    end = lengths, reverse, draw(st.booleans())
    return numbers(n, steps, size), dh, dc, gates, cells, c, weight, *end


@st.composite
def gru_arguments(draw, name):
    numbers, (n, steps, size), lengths, reverse = draw(sequences())
    weight = numbers(size, 3 * size) / numbers.dtype(size**0.5)
    h, inputs, bias = numbers(n, size), numbers(n, steps, 3 * size), numbers(3 * size)
    if name == "gru":
        return inputs, weight, bias, h, lengths, reverse, draw(st.booleans())
    from minidl.reference.gru import gru

    outputs, _, saved = gru(inputs, weight, bias, h, lengths, reverse, True)
    dh, end = numbers(n, size) if draw(st.booleans()) else None, draw(st.booleans())
    return numbers(n, steps, size), dh, saved, outputs, h, weight, lengths, reverse, end


@st.composite
def rnn_arguments(draw, name):
    numbers, (n, steps, size), lengths, reverse = draw(sequences())
    weight = numbers(size, size) / numbers.dtype(size**0.5)
    h, inputs = numbers(n, size), numbers(n, steps, size)
    nonlinearity = draw(st.sampled_from(["tanh", "relu"]))
    if name == "rnn":
        return inputs, weight, h, lengths, nonlinearity, reverse
    from minidl.reference.rnn import rnn

    outputs, _ = rnn(inputs, weight, h, lengths, nonlinearity, reverse)
    dh, end = numbers(n, size) if draw(st.booleans()) else None, draw(st.booleans())
    return numbers(n, steps, size), dh, outputs, weight, lengths, nonlinearity, reverse, end


@st.composite
def scatter_arguments(draw, name):
    """With columns for more than one part."""
    numbers, columns = Numbers(draw(dtypes), draw(st.integers(0, 99))), [0, 3, 5000]
    count, size = draw(st.sampled_from([1, 7, 40])), draw(st.sampled_from([0, 1, 60]))
    rows = numbers.random.integers(0, count, size)
    return numbers(size, draw(st.sampled_from(columns))), rows, count


RECURRENT = {
    "gru": gru_arguments,
    "lstm": lstm_arguments,
    "recurrent": entering_arguments,
    "rnn": rnn_arguments,
    "scatter": scatter_arguments,
}
