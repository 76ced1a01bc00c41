"""The command's parser: argparse's, whose errors also name what is nearly what was given."""

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

__all__ = ["Parser"]

OPTION = re.compile(r"-[a-zA-Z]|--[a-z]")  # how an option begins; "-1" is a number
UNRECOGNIZED, REQUIRED = "unrecognized arguments: ", "the following arguments are required: "


class Parser(argparse.ArgumentParser):
    """Adds "did you mean" to the errors for unknown commands, options and choices.

    commands: the parsers of all commands, by name.
    """

    commands: Mapping[str, "Parser"] = {}
    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        command = self._command()
        if message.startswith((UNRECOGNIZED, REQUIRED)):
            message += self._advice(command) or command._misplaced(message, self._words())
        command.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += _near(value, map(str, action.choices or ()))
            raise

    def _words(self) -> Sequence[str]:
        """Return what was given, up to "--"."""
        return self._given[: self._given.index("--")] if "--" in self._given else self._given

    def _command(self) -> "Parser":
        """Return the parser of the command that was given; `minidl` itself has given it on."""
        if self in self.commands.values():
            return self
        return next((self.commands[word] for word in self._words() if word in self.commands), self)

    def _advice(self, command: "Parser") -> str:
        """Return what to give instead of the first unknown option, if that can be told."""
        for word in self._words():
            name = word.partition("=")[0] if word.startswith("--") else word[:2]
            if OPTION.match(word) and not command._takes(name):
                others = [n for n, each in self.commands.items() if name in each._options()]
                if others:
                    return f": {name} is an option of minidl {', '.join(others)}"
                return _near(name, command._options())
        return ""

    def _misplaced(self, message: str, words: Sequence[str]) -> str:
        """Return where a name belongs that stands without an option, or that one has taken."""
        name = message.removeprefix(UNRECOGNIZED)
        if name in words and not OPTION.match(name) and "--data" in self._options():
            return f": did you mean --data {name}?"
        for action in self._actions:
            given = next((each for each in action.option_strings if each in words), None)
            if message.startswith(REQUIRED) and given and action.nargs == argparse.ONE_OR_MORE:
                first = message.removeprefix(REQUIRED).partition(",")[0]
                return f": {given} takes all that follows it: give {first} before it"
        return ""

    def _options(self) -> list[str]:
        return list(self._option_string_actions)

    def _takes(self, name: str) -> bool:
        """Return whether this is one of the command's options; long ones may be shortened."""
        long = name.startswith("--")
        return any(each.startswith(name) if long else each == name for each in self._options())


def _near(given: Any, known: Iterable[str]) -> str:
    text, names = str(given), list(known)
    near = get_close_matches(text, names, n=2, cutoff=0.7)
    near = near or [name for name in names if text and name.startswith(text)][:2]
    return f": did you mean {' or '.join(near)}?" if near else ""
