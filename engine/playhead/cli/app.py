"""The program: its commands put together, run with arguments, and ended with a code. Owns the handling of what goes wrong."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Protocol, runtime_checkable

import typer

from playhead import __version__
from playhead.cli import options, presented
from playhead.cli.commands import history, keys, looking, running, serving, store, tokens, upkeep
from playhead.cli.exits import ExitCode, tell, tell_message
from playhead.errors import PlayheadError

app = typer.Typer(
    name="playhead",
    help="Runs Python workflows on your own machines; every change of state is an event that can be replayed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"playhead {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    token_file: options.TokenFile = None,
) -> None:
    """What is said before the command: who asks. What other options mean is said where they are used."""
    presented.token_file.set(token_file)


for group in (running, looking, history, serving, tokens, upkeep, store, keys):
    group.add_to(app)


def run(arguments: Sequence[str]) -> int:
    """Run the program with these arguments; the code to exit with. Every error has been printed."""
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 — the program's last line: whatever ends it is told, and has a code
        return _tell(error, as_json="--json" in arguments)
    return code


def _invoke(arguments: Sequence[str]) -> int:
    command = typer.main.get_command(app)
    code: object = command.main(args=list(arguments) or ["--help"], prog_name="playhead", standalone_mode=False)
    return code if isinstance(code, int) else ExitCode.GOOD


def _tell(error: BaseException, *, as_json: bool) -> int:
    match error:
        case PlayheadError():
            return tell(error, as_json=as_json)
        case KeyboardInterrupt() | typer.Abort():
            return ExitCode.INTERRUPTED
        case BrokenPipeError() | SystemExit(__context__=BrokenPipeError()):  # Rich makes the one of the other
            _silence_stdout()  # whoever read along, such as `head`, has had enough
            return ExitCode.GOOD
        case BaseExceptionGroup(exceptions=parts):
            return _tell_group(error, parts, as_json=as_json)
        case Exception() if isinstance(error, _WrongArguments):
            return _tell_wrong(error, as_json=as_json)
        case _:
            return _tell_defect(error, as_json=as_json)


@runtime_checkable
class _WrongArguments(Protocol):
    """What the argument parser raises. Typer has moved the class between packages, so it is known by its shape."""

    exit_code: int

    def format_message(self) -> str: ...


def _tell_wrong(error: _WrongArguments, *, as_json: bool) -> int:
    path = getattr(getattr(error, "ctx", None), "command_path", "playhead")
    message = error.format_message()
    if message:  # none where a group without its command has printed its help
        tell_message(message, f"`{path} --help` lists what there is", code="usage", as_json=as_json)
    return ExitCode.WRONG_USE


def _tell_group(group: BaseException, parts: Sequence[BaseException], *, as_json: bool) -> int:
    """What ended in a task group. Each part is told, unless one of them is a defect: then all of it is."""
    leaves = [leaf for part in parts for leaf in _leaves(part)]
    if len(leaves) > 1 and not all(isinstance(leaf, PlayheadError) for leaf in leaves):
        return _tell_defect(group, as_json=as_json)
    return max(_tell(leaf, as_json=as_json) for leaf in leaves)


def _leaves(error: BaseException) -> list[BaseException]:
    match error:
        case BaseExceptionGroup(exceptions=parts):
            return [leaf for part in parts for leaf in _leaves(part)]
        case _:
            return [error]


def _tell_defect(error: BaseException, *, as_json: bool) -> int:
    traceback.print_exception(error)
    hint = "please report it with the lines above"
    tell_message(f"a defect of Playhead: {type(error).__name__}", hint, code="defect", as_json=as_json)
    return ExitCode.DEFECT


def _silence_stdout() -> None:
    """Python flushes stdout once more at its end, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
