"""What a person typed for a flow: its target, and its parameters as text. Reads the files that `@` names; loads no code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from playhead.errors import BadParameter, UsageError

MAX_FILE_BYTES: Final = 64 * 1024 * 1024  # of a value: parameters are kept whole with the run

_FORM: Final = "write -p NAME=VALUE; VALUE is JSON, else text; @FILE reads it from a file"


def parameters_of(given: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE` each, as text by name. BadParameter: another form, a name twice, or a file that cannot be read."""
    values: dict[str, str] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise BadParameter(f"-p {each!r} is not a parameter", hint=_FORM)
        if name in values:
            raise BadParameter(f"the parameter {name!r} was given twice", hint=_FORM)
        values[name] = _content(name, text[1:]) if text.startswith("@") else text
    return values


def _content(name: str, path: str) -> str:
    hint = "-p NAME=@FILE reads a value from a file; a text that begins with @ is written as JSON: '\"@…\"'"
    try:
        if Path(path).stat().st_size > MAX_FILE_BYTES:
            raise BadParameter(
                f"parameter {name!r}: {path} has more than {MAX_FILE_BYTES // 2**20} MB",
                hint="give the file's path as the parameter, and have a task read it",
            )
        return Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except OSError as error:
        raise BadParameter(
            f"parameter {name!r}: {path or 'no file'} cannot be read: {error.strerror}", hint=hint
        ) from error
    except UnicodeDecodeError as error:
        raise BadParameter(f"parameter {name!r}: {path} is not UTF-8 text", hint=hint) from error


def not_registered(target: str) -> UsageError:
    return UsageError(
        f"{target!r} is neither code nor a flow that is registered",
        hint=f"write {target}.py:FLOW or module:FLOW for code; `playhead flows` lists the registered ones",
    )
