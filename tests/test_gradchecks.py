"""`minidl.testing`: the decorator finds what is wrong, the strategies keep what they promise."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl as md
from minidl.errors import ArgumentError, GradError, ShapeError
from minidl.testing import (
    broadcastable,
    convolutions,
    gradchecks,
    images,
    numbers_apart,
    without_kinks,
)


@gradchecks(
    shapes=[(4, 3), (3, 2)], dtypes=(np.float64, np.float32),
    backward=lambda g, x, w: (g @ w.T, x.T @ g),
)  # fmt: skip
def test_a_backward_of_arrays(x, w):
    return x @ w


@gradchecks(shapes=[[(4, 3)], [(2, 2, 2)], [()]], dtypes=(np.float64, np.float32))
def test_the_tape(x):
    return x.tanh() * x


@gradchecks(shapes=[(5,)], draw=lambda generator, shape: generator.uniform(0.5, 2, shape))
def test_numbers_of_ones_own(x):
    return x.log()


FAILING = """
    import numpy as np
    from minidl.testing import gradchecks

    def long(g, x):
        return g.astype(np.float64) * 2 * x

    @gradchecks(shapes=[[(3, 3), (3, 3)]], backward=lambda g, x, w: (g @ w, x.T @ g))
    def test_transposed(x, w):
        return x @ w

    @gradchecks(shapes=[(3,)], dtypes=[np.float32], backward=long)
    def test_too_long(x):
        return x**2

    @gradchecks(
        shapes=[(3,)], dtypes=["float32"], backward=lambda g, x: g * np.float32(x.dtype == "f8")
    )
    def test_other_in_float32(x):
        return x
"""


def test_what_is_wrong_fails(tmp_path):
    (tmp_path / "test_wrong.py").write_text(textwrap.dedent(FAILING))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_wrong.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "3 failed" in done.stdout
    assert "test_transposed[3x3-3x3-float64]" in done.stdout
    assert "it is right if input 1 (w) is transposed in it" in done.stdout
    assert "the gradient of input 0 in float32 is float64" in done.stdout
    assert "away from that in float64" in done.stdout


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="test_two takes 2 arrays, got 1 shapes"):

        @gradchecks(shapes=[(3,)])
        def test_two(x, y):
            return x * y

    with pytest.raises(ArgumentError, match="float32 or float64, got int64"):
        gradchecks(shapes=[(3,)], dtypes=[np.int64])
    with pytest.raises(ArgumentError, match="there is no shape: nothing would be tested"):
        gradchecks(shapes=[])
    with pytest.raises(ArgumentError, match="there is no dtype: nothing would be tested"):
        gradchecks(shapes=[(3,)], dtypes=[])
    with pytest.raises(ArgumentError, match=r"a list of shapes, or of such lists, got \(4, 3\)"):
        gradchecks(shapes=(4, 3))


BOTH = {"shapes": [(4, 3)], "dtypes": (np.float64, np.float32)}


@gradchecks(backward=lambda g, x: g * 2 * x, **BOTH)
def test_a_loss_that_is_a_number(x):
    return float((x**2).sum())


@gradchecks(**BOTH)
def test_outputs_without_a_gradient(x):
    return x * 2, md.tensor(np.argmax(x.data, axis=0)), md.tensor(np.ones(3))


@pytest.mark.parametrize(("backward", "error", "said"), [
    (lambda g, x, w: g * w, GradError, "returned 1 gradients for 2 inputs"),
    (lambda g, x, w: (g * w, (g * x).sum()), ShapeError, r"shape \(\), the input \(4, 3\)"),
    (lambda g, x, w: (g * w, g * x if x.dtype == np.float64 else None), GradError, "1 in float32"),
])  # fmt: skip
def test_gradients_in_float32_are_whole(backward, error, said):
    @gradchecks(shapes=[(4, 3), (4, 3)], dtypes=[np.float32], backward=backward)
    def test_product(x, w):
        return x * w

    with pytest.raises(error, match=said):
        test_product((((4, 3), (4, 3)), np.dtype(np.float32)))


@settings(max_examples=30, deadline=None)
@given(convolutions())
def test_convolutions(c):
    settings = {"stride": c.stride, "padding": c.padding, "dilation": c.dilation}
    y = md.ops.conv2d(c.x, c.weight, groups=c.groups, **settings)
    assert y.ndim == 4
    assert y.size


@settings(max_examples=30, deadline=None)
@given(broadcastable(count=3), images(batch=(2, 2), channels=(3, 3), dtype=np.float32))
def test_broadcastable_and_images(arrays, x):
    np.broadcast_shapes(*(a.shape for a in arrays))
    assert x.dtype == np.float32
    assert (x.shape[0], x.shape[3]) == (2, 3)
    assert 1 <= x.shape[1] <= 8


@settings(max_examples=30, deadline=None)
@given(numbers_apart(), without_kinks((20,), kinks=(0.0, 6.0)), st.sampled_from([np.float32]))
def test_no_ties_and_no_kinks(apart, away, dtype):
    steps = np.diff(np.sort(apart, axis=None))
    assert (steps > 0.0099).all()
    assert min(np.abs(away).min(), np.abs(away - 6).min()) >= 0.0099


@settings(max_examples=40, deadline=None)
@given(broadcastable(), without_kinks(), numbers_apart((3, 4)), images())
def test_no_false_alarms(pair, x, apart, image):
    assert md.gradcheck(lambda a, b: a * b + a, list(pair))
    assert md.gradcheck(lambda x: md.ops.relu(x), x)
    assert md.gradcheck(lambda x: x.max(axis=1), apart)
    assert md.gradcheck(lambda x: md.ops.softmax(x, axis=-1), image)
    a, b = pair
    backward = lambda g, a, b: (md.ops.sum_to(g * (b + 1), shape=a.shape),  # noqa: E731
                                md.ops.sum_to(g * a, shape=b.shape))  # fmt: skip
    assert md.gradcheck(lambda a, b: a * b + a, [a, b], backward=backward)
