"""What is packed: files beside the code, extras, the source distribution's tests."""

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pytest

import minidl

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(minidl.__file__).parent


@pytest.fixture(scope="module")
def settings():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def required(settings, *extras):
    """The names of the packages that extras bring, minidl's own extras resolved."""
    found = set()
    for line in [line for extra in extras for line in settings["optional-dependencies"][extra]]:
        if own := re.fullmatch(r"minidl\[(.*)\]", line):
            found |= required(settings, *own[1].split(","))
        else:
            found.add(re.match(r"[\w-]+", line)[0].lower())
    return found


def test_every_file_of_the_package_is_packed(settings):
    patterns = settings["tool"]["setuptools"]["package-data"]["minidl"]
    others = [
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    ]  # fmt: skip
    assert {"py.typed", "data/uci_digits.csv.gz", "data/uci_digits.txt"} <= {*others}
    left_out = [name for name in others if not any(fnmatch(name, each) for each in patterns)]
    assert left_out == []
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_types_are_marked():
    assert files("minidl").joinpath("py.typed").is_file()


def test_the_first_command_of_the_readme_installs_no_scipy(settings):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    command = text.split("<!-- train -->")[1].split("<!-- /train -->")[0]
    extras = re.search(r'"\.\[(.*?)\]"', command)[1].split(",")
    brought = required(settings["project"], *extras)
    assert brought
    assert not brought & {"scikit-learn", "scipy"}


def test_extras_bring_only_what_is_used(settings):
    project = settings["project"]
    code = "\n".join(p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.py"))
    modules = {"pillow": "PIL", "jinja2": "jinja2", "tensorboardx": "tensorboardX"}
    for name in required(project, "images", "plots", "interop", "logs", "examples"):
        module = modules.get(name, name)
        assert re.search(rf"(import|from) {module}\b", code), f"nothing imports {name}"


def test_the_licences_are_packed(settings):
    for name in settings["project"]["license-files"]:
        assert (ROOT / name).read_text(encoding="utf-8").strip()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a source distribution has no history")
def test_all_that_tests_need_is_in_the_source_distribution():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    lines = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
    grafted = [line.split()[1] for line in lines if line.startswith("graft ")]
    included = [name for line in lines if line.startswith("include ") for name in line.split()[1:]]
    included += ["pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"]  # packed anyway
    left_out = [
        name for name in listed
        if name.split("/")[0] not in (*grafted, "minidl") and name not in included
    ]  # fmt: skip
    assert left_out == [".gitignore"]
