"""md.compile: what users call."""

from typing import Any

from minidl.capture.compiled import Compiled, CompiledModel
from minidl.errors import ArgumentError, StateError
from minidl.nn import Module

__all__ = ["compile", "is_own"]


def compile(function: Any) -> Compiled:
    """Return a function that computes what `function` does, without Python between its kernels.

        @md.compile
        def step(images, labels):
            optimizer.zero_grad()
            loss = loss_function(model(images), labels)
            loss.backward()
            optimizer.step()
            return loss

    function: of arrays, tensors and plain values, within tuples, lists and dicts if need be; it
        returns arrays and tensors. It may change parameters, gradients, states of optimizers and
        running statistics, draw dropout's seeds, clip, and average weights.
    For each kind of arguments (shapes, dtypes, plain values) the first call records what it
    launches; the second is called too, and proves that a replay gives the same bits. From then on
    calls are replayed. What the numbers decide in Python (`if loss > 1`) can't be.

    A model in evaluation mode is compiled for inference: without gradients, batch normalisations
    folded into the convolutions before them, weights packed once. The outputs are then within 1e-5
    of the largest; the model stays as it is, and a change of its weights is noticed.

    Before a replay it is noticed, and the call recorded anew, where something has changed that the
    function, and code of yours that it calls, can name: globals, closures, defaults, attributes,
    NumPy arrays, what is in containers, os.environ; parameters, modes, hooks and attributes of
    modules, and the forward of their classes. Not noticed: other methods and functions of minidl
    or of other libraries when they are replaced, what their objects hold inside, files that the
    function reads, the clock, the middle of containers of more than 256 items, and numbers of
    arrays above 1 MB but for samples at equal distances. Pass these as arguments.

    While a call is recorded and proved, arrays that it uses, weights too, hold other numbers for
    moments and are put back: no other thread may use them meanwhile.

    Tensors it returns have no graph. `.grad` holds the same arrays after each call.
    Raises ArgumentError for what can't be called, StateError for a model in training mode, and
    CaptureError where a call can't be captured, naming what it is.
    """
    if isinstance(function, Module):
        if function.training:
            raise StateError(
                "md.compile expected a model in evaluation mode: compile(model.eval()); to train "
                "it, compile the function that makes a step"
            )
        return CompiledModel(function)
    if not callable(function):
        raise ArgumentError(f"md.compile expected a function or a model, got {function!r:.100}")
    return Compiled(function)


def is_own(function: Any) -> bool:
    """Whether a model and its parts, or a function, are minidl's: without hidden Python state.

    Code of the user's own may count or draw in ways that no proof sees, so that capturing it is for
    the user to ask for.
    """
    if isinstance(function, Module):
        return all(
            type(module).__module__.startswith("minidl.") and "forward" not in vars(module)
            for module in function.modules()
        )
    return str(getattr(function, "__module__", "")).startswith("minidl.")
