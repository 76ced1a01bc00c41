"""The shape of the house: which floor imports which, and what importing costs."""

import ast
import subprocess
import sys
import types
from pathlib import Path

import pytest
from each import of_each

import minidl

ROOT = Path(minidl.__file__).parent

# From the ground up; rooms of one set stand on one floor.
FLOORS = [
    {"checks", "errors", "foreign", "text", "version"},
    {"config", "constants", "random", "geometry", "recording", "exposed", "distributed"},
    {"reference", "kernels"},
    {"autograd"},
    {"ops"},
    {"nn"},
    {"optim", "io", "data", "models", "capture"},
    {"train", "analysis"},
    {"apps"},
    {"bench", "cli", "doctor", "testing", "warmup", "__main__"},
]
FLOOR_OF = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module):
    """`minidl.ops.conv` stands in the room `ops`; the package's face stands in none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def imports(path):
    """The minidl modules that a file imports, at its top or anywhere inside."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("minidl"):
            for name in node.names:
                full = f"{node.module}.{name.name}"
                yield full if node.module == "minidl" else node.module
        elif isinstance(node, ast.Import):
            yield from (n.name for n in node.names if n.name.startswith("minidl"))


FILES = [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


@of_each(FILES, "parent.name")
def test_imports_point_down(case):
    relative = case.relative_to(ROOT)
    here = relative.parts[0].removesuffix(".py")
    assert here in FLOOR_OF, f"{here} has no floor yet"
    for module in imports(case):
        there = room_of(module)
        if there in FLOOR_OF and there != here:
            assert FLOOR_OF[there] <= FLOOR_OF[here], f"{relative} imports {module}, which is above"
            twins = {here, there} == {"kernels", "reference"}
            assert not twins, f"{relative} imports {module}: a kernel and its twin are independent"


@of_each(FILES, "parent.name")
def test_files_are_rooms_not_halls(case):
    assert len(case.read_text(encoding="utf-8").splitlines()) <= 400


def test_files_of_tests_have_names_of_their_own():
    """pytest takes two of one name, in folders without __init__.py, for the same module."""
    names = [path.name for path in Path(__file__).parent.rglob("*.py") if path.stem != "conftest"]
    assert sorted(names) == sorted(set(names))


def test_numba_lives_in_kernels_only():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        if "import numba" in text or "from numba" in text:
            assert path.relative_to(ROOT).parts[0] == "kernels"


def test_importing_compiles_nothing_and_imports_no_extra():
    heavy = [
        "numba",
        "h5py",
        "tqdm",
        "torch",
        "sklearn",
        "matplotlib",
        "PIL",
        "safetensors",
        "onnx",
        "jinja2",
    ]
    code = f"""
import sys
import minidl
from minidl import nn, optim
print([name for name in {heavy} if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_public_names():
    """The names that DESIGN promises so far, where it promises them."""
    import minidl as md
    from minidl import data, models, nn, optim, train

    for package in (md, data, models, nn, optim, train):
        assert len(set(package.__all__)) == len(package.__all__)
        for name in package.__all__:
            found = getattr(package, name)
            kinds = types.ModuleType | str | type(md.config)
            assert callable(found) or isinstance(found, kinds), f"{package.__name__}.{name}"
    promised = {
        md: "tensor from_numpy Tensor no_grad enable_grad detect_anomaly manual_seed config grad "
        "set_num_threads gradcheck save_weights load_weights save_checkpoint load_checkpoint "
        "summary compile export_onnx nn optim data models train",
        data: "ArrayDataset DataLoader HDF5Dataset HDF5Writer ImageFolder ImageList image_parts",
        models: "create list load",
        train: "Trainer Callback",
        optim: "SGD Adagrad Adadelta RMSprop Adam AdamW NAdam Nadam RAdam Lion LAMB EMA "
        "lr_scheduler clip_grad_norm",
    }
    for package, names in promised.items():
        assert [name for name in names.split() if not hasattr(package, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = md.nothing
    assert set(minidl.__all__) <= set(dir(md))
