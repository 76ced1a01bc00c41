"""Every side of a described network computes the same: outputs and gradients, weights carried over.

JAX, ONNX Runtime and OpenVINO take part where they are installed.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch_compare import torch

import minidl as md
from benchmarks import in_minidl, in_torch, limits
from benchmarks.networks import (
    NETWORKS,
    Conv,
    Depthwise,
    Flatten,
    Linear,
    draw_state,
    leaves,
    planes_first,
    resnet18,
    state_shapes,
)
from minidl import nn, optim
from minidl.bench.processes import installed

ROOT = Path(__file__).resolve().parents[2]
BATCH = 3
# At 64x64 pixels where the network takes any size; VGG-16 has no layers that VGG-CIFAR hasn't.
SMALL = {name: NETWORKS[name]() for name in ("lenet5", "vgg-cifar", "resnet20")}
SMALL |= {
    name: NETWORKS[name](size=64)
    for name in (
        "resnet18", "mobilenet", "mobilenet-grouped", "resnet50", "se-resnext50", "densenet121",
    )
}  # fmt: skip
each = pytest.mark.parametrize("network", SMALL.values(), ids=SMALL)


def test_parameters():
    for make in NETWORKS.values():
        layers = make().layers
        with torch.device("meta"):  # shapes without memory
            count = sum(p.numel() for p in in_torch.build(layers).parameters())
        shapes = [state_shapes(leaf) for leaf in leaves(layers)]
        described = [s[n] for s in shapes for n in ("weight", "bias") if n in s]
        assert count == sum(int(np.prod(shape)) for shape in described)


def turned(network, arrays):
    """minidl's arrays, one for each of the state, as PyTorch lays them out."""
    found, planes, arrays = [], (0, 0, 0), iter(arrays)
    for leaf in leaves(network.layers):
        if isinstance(leaf, Flatten):
            planes = (leaf.height, leaf.width, leaf.channels)
        for name in state_shapes(leaf):
            array = next(arrays)
            if isinstance(leaf, Linear) and name == "weight":
                array, planes = planes_first(array, planes).T, (0, 0, 0)
            elif isinstance(leaf, Conv) and name == "weight":
                array = array.transpose(3, 2, 0, 1)  # (O, I, kh, kw)
            elif isinstance(leaf, Depthwise):
                array = array.transpose(2, 3, 0, 1)  # (C, 1, kh, kw)
            found.append(array)
    return found


def minidl_model(network, dtype=np.float64):
    """With statistics and normalisations that are not 0 and 1."""
    md.manual_seed(0)
    model = in_minidl.build(network.layers)
    random = np.random.default_rng(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for place in (module.weight, module.running_var):
                place.data[...] = random.uniform(0.5, 1.5, place.shape)
            for place in (module.bias, module.running_mean):
                place.data[...] = random.normal(0, 0.3, place.shape)
    return model.astype(dtype)


def carried(network, model):
    """PyTorch's model with the weights of minidl's."""
    twin = in_torch.build(network.layers).double()
    state = [v for k, v in twin.state_dict().items() if not k.endswith("num_batches_tracked")]
    for place, array in zip(state, turned(network, model.state_dict().values()), strict=True):
        place.copy_(torch.from_numpy(np.ascontiguousarray(array)))
    return twin


def batch_of(network, dtype=np.float64):
    shape = (BATCH, network.size, network.size, network.channels)
    images = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    return images, np.arange(BATCH) % network.classes


def assert_close(got, expected, tolerance, what=""):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got / scale, expected / scale, 0, tolerance, err_msg=what)


def float32_tolerance(network):
    """Sigmoids of sums in the thousands: each library's SE-ResNeXt is 1e-4 from float64's."""
    return 1e-3 if network is SMALL["se-resnext50"] else 1e-4


def gradients(network, model, images, labels):
    """The loss, and gradients in place of every parameter; None for statistics."""
    loss = nn.CrossEntropyLoss()(model(images), labels)
    loss.backward()
    places = dict(model.named_parameters())
    return loss.item(), [(name, places[name].grad) for name in model.state_dict() if name in places]


@each
def test_torch_trains_alike(network):
    model = minidl_model(network)
    twin = carried(network, model)
    images, labels = batch_of(network)
    loss, found = gradients(network, model, images, labels)
    planes = torch.from_numpy(images.transpose(0, 3, 1, 2))
    expected = torch.nn.CrossEntropyLoss()(twin(planes), torch.from_numpy(labels))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-9)
    grads = dict(found)
    filled = [grads.get(name, np.zeros(a.shape)) for name, a in model.state_dict().items()]
    names = [name for name in model.state_dict() if name in grads]
    mine = [g for g, name in zip(turned(network, filled), model.state_dict()) if name in grads]
    for name, got, parameter in zip(names, mine, twin.parameters(), strict=True):
        assert_close(got, parameter.grad.numpy(), 1e-7, name)


@each
@pytest.mark.parametrize("last", [False, True])
def test_torch_infers_alike(network, last):
    model = minidl_model(network).eval()
    images, _ = batch_of(network)
    twin = carried(network, model).to(memory_format=in_torch._layout(last)).eval()
    planes = in_torch._laid(torch.from_numpy(images.transpose(0, 3, 1, 2)), last)
    with md.no_grad(), torch.no_grad():
        assert_close(model(images).numpy(), twin(planes).numpy(), 1e-9)


def by_leaf(network, arrays):
    """The arrays of a whole network as a dict for each leaf."""
    arrays = iter(arrays)
    return [{name: next(arrays) for name in state_shapes(leaf)} for leaf in leaves(network.layers)]


def drawn(network):
    """minidl's network with the weights that every side of the benchmarks draws."""
    model = in_minidl.build(network.layers)
    arrays = [array for own in draw_state(network.layers) for array in own.values()]
    model.load_state_dict(dict(zip(model.state_dict(), arrays, strict=True)))
    return model


if installed("jax"):

    @each
    def test_jax_trains_alike(network):
        import jax

        from benchmarks import in_jax

        model = minidl_model(network)
        images, labels = batch_of(network)
        state = by_leaf(network, [a.copy() for a in model.state_dict().values()])
        loss, found = gradients(network, model, images, labels)
        with jax.enable_x64(True):
            (expected, moved), grads = jax.value_and_grad(in_jax.loss, 1, has_aux=True)(
                network, *in_jax.split(state), images, labels
            )
        assert loss == pytest.approx(float(expected), rel=1e-9)
        flat = [leaf[name] for leaf in grads for name in ("weight", "bias") if name in leaf]
        for (name, got), theirs in zip(found, flat, strict=True):
            assert_close(got, np.asarray(theirs), 1e-7, name)
        running = [leaf[name] for leaf in moved for name in in_jax.RUNNING if name in leaf]
        for buffer, theirs in zip(model.buffers(), running, strict=True):
            assert_close(buffer.data, np.asarray(theirs), 1e-9)

    def test_jax_steps():
        """Two steps of training, and inference, from the weights that all sides draw."""
        from benchmarks import in_jax

        network, model = NETWORKS["lenet5"](), drawn(NETWORKS["lenet5"]())
        images, labels = np.asarray(in_jax._images(network, 2)), np.arange(2)
        with md.no_grad():
            expected = model.eval()(images).numpy()
        assert_close(np.asarray(in_jax.inference(network, 2)()), expected, 1e-4)
        step = in_jax.train_step(network, 2, 0.1)
        optimizer = optim.SGD(model.train().parameters(), 0.1, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(model(images), labels).backward()
            optimizer.step()
            found = by_leaf(network, model.state_dict().values())
            for own, theirs in zip(found, step(), strict=True):
                for name, array in theirs.items():
                    assert_close(own[name], np.asarray(array), 1e-4, name)


if installed("onnx") and installed("onnxruntime"):

    @each
    def test_onnx_runtime_infers_alike(network):
        from benchmarks import in_onnx, onnx_graph

        model = minidl_model(network, np.float32).eval()
        images, _ = batch_of(network, np.float32)
        state = by_leaf(network, model.state_dict().values())
        runner = in_onnx.session(onnx_graph.model(network, state))
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        (expected,) = runner.run(None, {"input": planes})
        with md.no_grad():
            assert_close(model(images).numpy(), expected, float32_tolerance(network))


if installed("onnx") and installed("openvino"):

    @each
    def test_openvino_infers_alike(network):
        from benchmarks import in_openvino, onnx_graph

        model = minidl_model(network, np.float32).eval()
        images, _ = batch_of(network, np.float32)
        state = by_leaf(network, model.state_dict().values())
        content = onnx_graph.model(network, state)
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        (expected,) = in_openvino.compiled(content, network, BATCH)([planes]).values()
        with md.no_grad():
            assert_close(model(images).numpy(), expected, float32_tolerance(network))

    def test_openvino_steps():
        from benchmarks import in_openvino, onnx_graph

        in_openvino.set_threads(1)
        network = NETWORKS["lenet5"]()
        (scores,) = in_openvino.inference(network, 2)().values()
        images = onnx_graph.images(network, 2).transpose(0, 2, 3, 1)
        with md.no_grad():
            assert_close(scores, drawn(network).eval()(images).numpy(), 1e-4)


def test_torch_listens_to_avx2(monkeypatch):
    """On a CPU with no more than that it has it anyway."""
    monkeypatch.setattr(limits, "has_more", lambda: True)
    code = "from benchmarks import limits; limits.check('in_torch')"
    environment = os.environ | limits.environment("in_torch")
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=ROOT)


@pytest.mark.parametrize("direction", ["forward", "input", "weight", "backward"])
def test_directions_compute_what_they_say(direction, monkeypatch):
    conv = (Conv(2, 3, 3, bias=False),)
    for side, shape in ((in_minidl, (1, 3, 3, 3)), (in_torch, (1, 3, 3, 3))):
        made = built_by(side, monkeypatch)
        prepare, run = side.operation(conv, (1, 5, 5, 2), direction)
        for _ in range(2):
            result = run(*prepare())
            grads = [parameter.grad for parameter in made[-1].parameters()]
            if direction == "forward":
                assert tuple(result.shape) == shape
            assert all((g is not None) == (direction in ("weight", "backward")) for g in grads)


def built_by(side, monkeypatch):
    """The networks that a side of the benchmarks builds from now on."""
    made, build = [], side.build
    monkeypatch.setattr(side, "build", lambda layers: made.append(build(layers)) or made[-1])
    return made


def test_steps_of_torch_train_and_infer(monkeypatch):
    made = built_by(in_torch, monkeypatch)
    for last in (False, True):
        step = in_torch.train_step(NETWORKS["lenet5"](), 2, 0.1, last=last)
        before = [parameter.detach().clone() for parameter in made[-1].parameters()]
        step()
        for parameter, old in zip(made[-1].parameters(), before, strict=True):
            assert not torch.equal(parameter, old)
            assert torch.isfinite(parameter).all()
        infer, scores = in_torch.inference(resnet18(size=32), 1, last=last), []
        made[-1].register_forward_hook(lambda *call, into=scores: into.append(call[2]))
        infer()
        assert [tuple(each.shape) for each in scores] == [(1, 1000)]
        assert not scores[0].requires_grad
