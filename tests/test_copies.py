"""Deep copies and pickles: of tensors, networks, data, and what trains."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
from pictures import class_folders

import minidl as md
from minidl import data, models, nn, optim, train
from minidl.data import transforms
from minidl.errors import CaptureError, FileFormatError, StateError
from minidl.nn import init

WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda thing: pickle.loads(pickle.dumps(thing))}
every_way = pytest.mark.parametrize("again", WAYS.values(), ids=WAYS.keys())


class Keeping(nn.Module):
    """Tied weights, and an activation that is kept."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        self.kept = self.first(x)
        return self.second(self.kept)


def images(count=12):
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 8, 8, 3)).astype(np.float32), np.arange(count) % 3


@every_way
def test_tensors_leave_the_graph_behind(again):
    x = md.tensor([1.0, 2.0], requires_grad=True)
    made = x * 3
    found = again(made)
    assert not found.requires_grad
    np.testing.assert_array_equal(found.data, [3, 6])
    made.sum().backward()
    leaf = again(x)
    assert leaf.requires_grad
    np.testing.assert_array_equal(leaf.grad, [3, 3])
    leaf.data[...] = 0
    leaf.grad[...] = 0
    np.testing.assert_array_equal(x.data, [1, 2])
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_a_shallow_copy_stays_in_the_graph():
    x = md.tensor([1.0, 2.0], requires_grad=True)
    made = x * 3
    twin = copy.copy(made)
    assert twin.data is made.data
    (twin * 2).sum().backward()
    np.testing.assert_array_equal(x.grad, [6, 6])
    assert isinstance(copy.copy(nn.Linear(2, 2).weight), nn.Parameter)


@every_way
def test_copies_in_a_captured_call_are_refused(again):
    @md.compile
    def call(x):
        return again(x * 2)

    with pytest.raises(CaptureError, match="copying or pickling a tensor"):
        call(md.tensor(np.ones((3, 3), np.float32)))


@every_way
def test_a_module_with_tied_weights_and_a_kept_activation(again):
    model, x = Keeping(), md.tensor(np.ones((2, 3), np.float32))
    for after in (False, True):
        result = model(x)
        if after:
            result.sum().backward()
        twin = again(model)
        assert twin.first.weight is twin.second.weight
        assert not twin.kept.requires_grad
        np.testing.assert_array_equal(twin(x).data, model(x).data)
        twin.first.weight.data[...] = 0
        assert model.first.weight.data.any()


@pytest.mark.parametrize("name", models.list())
def test_every_network(name):
    with init.skipped():
        network = models.create(name)
    network.freeze()
    for again in WAYS.values():
        twin = again(network)
        assert list(twin.state_dict()) == list(network.state_dict())
        assert twin.architecture == network.architecture
        assert twin.sources == network.sources
        assert twin.num_trainable == 0
        assert not set(map(id, twin.parameters())) & set(map(id, network.parameters()))


@every_way
def test_a_copied_network_computes_the_same(again):
    network = models.create("resnet20").eval()
    twin, x = again(network), md.tensor(np.ones((1, 32, 32, 3), np.float32))
    np.testing.assert_array_equal(twin(x).data, network(x).data)
    assert not any(module.training for module in twin.modules())


# What trains


@every_way
def test_a_trainer_goes_on_as_the_original(again):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    trainer = train.Trainer(
        model,
        optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        metrics=["accuracy"],
        callbacks=[train.EarlyStopping(patience=3), train.NaNGuard(), train.ClipGradients(1.0)],
    )
    loader = data.DataLoader(data.ArrayDataset(*images()), 4, shuffle=True, seed=3)
    trainer.fit(loader, 1, loader, progress=True)
    twin, others = again((trainer, loader))
    mine = {id(parameter) for parameter in twin.model.parameters()}
    assert {id(p) for group in twin.optimizer.param_groups for p in group["params"]} == mine
    before = [parameter.data.copy() for parameter in model.parameters()]
    twin.fit(others, 3, others, progress=False)
    for parameter, array in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.data, array)  # theirs are their own
    trainer.fit(loader, 3, loader, progress=False)
    for one, other in zip(model.parameters(), twin.model.parameters(), strict=True):
        np.testing.assert_array_equal(one.data, other.data)


@every_way
def test_a_loader_goes_on_as_the_original(again):
    moved = [transforms.RandomCrop(8, padding=2), transforms.RandomHorizontalFlip()]
    loader = data.DataLoader(
        data.ArrayDataset(*images()), 4, shuffle=True, seed=5, workers=2, transform=moved,
        augment=True,
    )  # fmt: skip
    next(iter(loader))
    twin = again(loader)
    assert twin.state_dict() == loader.state_dict()
    for one, other in zip(loader, twin, strict=True):
        for x, y in zip(one, other, strict=True):
            np.testing.assert_array_equal(x, y)


# Files of rows


@pytest.fixture
def rows(tmp_path):
    """A data set on disk, and its rows."""
    x = np.random.default_rng(0).integers(0, 256, (400, 40, 40, 3), dtype=np.uint8)
    with data.HDF5Writer(tmp_path / "a.h5", shape=(40, 40, 3)) as writer:
        writer.add(x, np.arange(400) % 7)
    return data.HDF5Dataset(tmp_path / "a.h5", cache=2**20), x


@every_way
def test_a_data_set_on_disk(again, rows, tmp_path, monkeypatch):
    dataset, x = rows
    monkeypatch.chdir(tmp_path)
    relative = data.HDF5Dataset("a.h5")
    dataset.batch([0])
    twin, other, part = again((dataset, relative, data.Subset(dataset, [3, 5])))
    dataset.close()
    relative.close()
    monkeypatch.chdir("/")
    for found in (twin, other):
        np.testing.assert_array_equal(found.batch(range(400))[0], x)
    assert part.labels.tolist() == [3, 5]
    np.testing.assert_array_equal(part[1][0], x[5])
    with pytest.raises(StateError, match="is closed"):
        again(dataset).batch([0])


def test_a_data_set_on_disk_that_was_replaced(rows, tmp_path):
    dataset, x = rows
    packed = pickle.dumps(dataset)
    with data.HDF5Writer(tmp_path / "a.h5", shape=(40, 40, 3), overwrite=True) as writer:
        writer.add(255 - x, np.arange(400) % 7)
    with pytest.raises(FileFormatError, match="is damaged"):
        pickle.loads(packed).batch([0])
    np.testing.assert_array_equal(dataset.batch([0])[0], x[:1])  # the old file is still open
    (tmp_path / "a.h5").unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(packed)


def _check(dataset, queue, wanted):
    found = [dataset.batch([i])[0][0] for i in (*range(0, 400, 7), *range(399, 0, -5))]
    queue.put(int(sum(int(row.sum()) for row in found)) == wanted)


@pytest.mark.parametrize("how", multiprocessing.get_all_start_methods())
def test_processes_share_a_data_set_on_disk(rows, how):
    dataset, x = rows
    dataset.batch([0])
    wanted = int(sum(int(x[i].sum()) for i in (*range(0, 400, 7), *range(399, 0, -5))))
    context = multiprocessing.get_context(how)
    queue = context.Queue()
    with dataset._lock:  # as another thread would have it while this one forks
        others = [context.Process(target=_check, args=(dataset, queue, wanted)) for _ in range(3)]
        for other in others:
            other.start()
    assert all(queue.get(timeout=300) for _ in others)
    for other in others:
        other.join()


@every_way
def test_images_in_files_and_arrays(again, tmp_path):
    class_folders(tmp_path / "pets", {"cat": 3, "dog": 2})
    (tmp_path / "a.csv").write_text("file,label\npets/cat/00.png,x\npets/dog/00.png,y\n")
    folder = data.ImageFolder(tmp_path / "pets", size=8)
    pixels, labels = folder.batch(range(5))
    np.savez(tmp_path / "a.npz", images=pixels, labels=labels)
    every = [
        folder, data.ImageList(tmp_path / "a.csv", size=8), data.split(folder, (0.5, 0.5))[1],
        *data.image_parts(tmp_path / "a.npz", size=8).values(), data.digits(8)[1],
    ]  # fmt: skip
    for dataset in every:
        twin = again(dataset)
        for one, other in zip(dataset.batch([1, 0]), twin.batch([1, 0]), strict=True):
            np.testing.assert_array_equal(one, other)
        assert getattr(twin, "classes", None) == getattr(dataset, "classes", None)
