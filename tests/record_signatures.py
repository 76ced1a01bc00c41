"""Record which arguments PyTorch's functions take by place, for the light tests.

Run from the project's root, with the extra `oracle` installed: python tests/record_signatures.py
"""

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

from signatures import public

TARGET = Path(__file__).with_name("torch_signatures.json")
CALL = r"^\s*(?:\.\. function:: *)?(?:torch\.)?{name}\(([^\n]*)\) *(?:->|$)"


def table() -> dict[str, list[list[str]]]:
    """For each of PyTorch's functions whose name minidl has too, its forms' arguments by place."""
    names = {their for _, _, theirs in public() for their in theirs}
    found = {name: forms(name) for name in sorted(names) if not name.startswith("torchvision.")}
    return {name: arguments for name, arguments in found.items() if arguments}


def forms(name: str) -> list[list[str]]:
    """From its signature, or of compiled functions the lines of its documentation."""
    function = _found(name)
    if function is None:
        return []
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        parameters = ()
    if not any(p.kind is p.VAR_POSITIONAL for p in parameters) and parameters:
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return [[p.name for p in parameters if p.kind in kinds and p.name != "self"]]
    pattern = re.compile(CALL.format(name=re.escape(name.rpartition(".")[2])), re.MULTILINE)
    lines = pattern.findall(inspect.getdoc(function) or "")
    return [arguments for line in dict.fromkeys(lines) if (arguments := _arguments(line))]


def _found(name: str) -> Any:
    parts = name.split(".")
    value: Any = importlib.import_module(parts[0])
    for part in parts[1:]:
        value = getattr(value, part, None)
    return value


def _arguments(line: str) -> list[str]:
    """Of "input, dim, keepdim=False, *, out=None": input, dim, keepdim."""
    flat = re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", line)  # tuples as defaults
    names = []
    for part in flat.split(","):
        word = part.split("=")[0].split(":")[0].strip()
        if word.startswith("*"):
            break
        if word not in ("", "/"):
            names.append(word)
    return names if all(map(str.isidentifier, names)) else []


def main() -> None:
    recorded = table()
    TARGET.write_text(json.dumps(recorded, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(recorded)} functions")


if __name__ == "__main__":
    main()
