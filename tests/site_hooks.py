"""The pieces of the site's hook, loaded from their files: tests/ has modules of such names too."""

import importlib.util
from pathlib import Path

HOOKS = Path(__file__).resolve().parents[1] / "docs" / "hooks"


def hook(name):
    """The module docs/hooks/`name`.py, made anew."""
    spec = importlib.util.spec_from_file_location(name, HOOKS / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made
