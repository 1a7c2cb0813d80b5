"""Settings: where this user's things are. Owns their names, defaults and order of precedence; opens nothing but TOML files.

A flag goes over a `PLAYHEAD_*` variable, that over the file that `PLAYHEAD_CONFIG` names, and that over `<home>/config.toml`.
A TOML key, the variable and the flag of a setting have one name: `storage`, `PLAYHEAD_STORAGE`, `--storage`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from playhead.errors import UsageError

CONFIG_FILE: Final = "config.toml"  # in the home
CONFIG_VARIABLE: Final = "PLAYHEAD_CONFIG"  # path of another such file
DEFAULT_HOME: Final = "~/.playhead"
MAX_ALLOWED_HOSTS: Final = 100  # names of one server: more are a list of something else
TOKEN_VARIABLE: Final = "PLAYHEAD_TOKEN"  # noqa: S105 — the text of a token; what it says is `playhead.credentials`' matter
# No runner of anybody's code may have these in its environment.
SECRET_VARIABLES: Final = ("PLAYHEAD_KEY", TOKEN_VARIABLE, "PLAYHEAD_TOKEN_FILE")

# name in files, flags and variables -> field
_FIELDS: Final[Mapping[str, str]] = {
    "home": "home",
    "server": "server_url",
    "storage": "storage_url",
    "store": "store_url",
    "lease_seconds": "lease_seconds",
    "allowed_hosts": "allowed_hosts",
    "token_file": "token_file",
    "tokens_over_http": "tokens_over_http",
    "require_tokens": "require_tokens",
    "encrypt": "encrypt",
}


def _listed(value: object) -> object:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class Settings(BaseModel):
    """Made by `load`. Paths are absolute.

    `server_url`: the server to ask; None: the one that owns this home's log, if there is one. `storage_url`: where flows,
    parameters, results and logs are kept. `store_url`: the log of a server that this home starts. `lease_seconds`: how long
    such a server waits for a silent runner before it offers the run to another. `allowed_hosts`: names under which it may be
    asked, beside loopback's and its address; in a variable they stand with commas between them. `require_tokens`: it asks for
    tokens also where only this machine can reach it.

    `token_file`: holds the token for `server_url`. `tokens_over_http`: let it go there in plain text. `encrypt`: encrypt what is
    written to storage, for storage that is not trusted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    server_url: str | None = None
    storage_url: str
    store_url: str
    lease_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 15.0
    allowed_hosts: Annotated[tuple[str, ...], Field(max_length=MAX_ALLOWED_HOSTS), BeforeValidator(_listed)] = ()
    token_file: Path | None = None
    tokens_over_http: bool = False
    require_tokens: bool = False
    encrypt: bool = False

    @classmethod
    def load(cls, flags: Mapping[str, object] | None = None, *, env: Mapping[str, str] | None = None) -> Self:
        """The settings in force. A flag that is None, and an empty variable, count as not given. `env` None: this process's.

        UsageError: a file does not read, holds a key that is no setting, or a value does not fit; it names file and key.
        """
        env = os.environ if env is None else env
        found = {key: _Given(value, f"--{_dashed(key)}") for key, value in (flags or {}).items() if value is not None}
        _fill(found, _variables(env))
        named = env.get(CONFIG_VARIABLE)
        if named:
            _fill(found, _file(Path(named).expanduser(), must_exist=True))
        home = _home(found.get("home"))
        _fill(found, _file_in(home))
        return cls._validated(home, found)

    @classmethod
    def _validated(cls, home: Path, found: Mapping[str, _Given]) -> Self:
        values: dict[str, object] = {
            "storage_url": (home / "storage").as_uri(),
            "store_url": f"sqlite://{quote(str(home / 'log.db'))}",
        }
        values |= {_FIELDS[key]: given.value for key, given in found.items()}
        if isinstance(values.get("token_file"), str | Path):
            values["token_file"] = Path(str(values["token_file"])).expanduser().absolute()
        try:
            return cls.model_validate({**values, "home": home})
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            key = next(key for key, field in _FIELDS.items() if field == problem["loc"][0])
            raise UsageError(
                f"the setting {key!r} of {found[key].origin} does not fit: {problem['msg']}, not {problem['input']!r}",
                hint="mend it there, or leave it out for its default",
            ) from None


@dataclass(frozen=True, slots=True)
class _Given:
    value: object
    origin: str  # where it was given, for the reader of an error


def _fill(found: dict[str, _Given], more: Iterator[tuple[str, _Given]]) -> None:
    """Take over what was not given in a place that goes before."""
    for key, given in more:
        found.setdefault(key, given)


def _variables(env: Mapping[str, str]) -> Iterator[tuple[str, _Given]]:
    for key in _FIELDS:
        variable = f"PLAYHEAD_{key.upper()}"
        if env.get(variable):
            yield key, _Given(env[variable], variable)


def _file(path: Path, *, must_exist: bool) -> Iterator[tuple[str, _Given]]:
    for key, value in _parsed(path, must_exist=must_exist).items():
        if key == "token":
            raise UsageError(
                f"{path} holds a token, and settings are shown and copied about",
                hint="move it into a file of its own that only you can read, and name that as token_file",
            )
        if key not in _FIELDS:
            near = get_close_matches(key, _FIELDS, n=1)
            raise UsageError(
                f"{path} sets {key!r}, which is no setting",
                hint=f"did you mean {near[0]!r}?" if near else f"the settings are: {', '.join(_FIELDS)}",
            )
        yield key, _Given(value, str(path))


def _file_in(home: Path) -> Iterator[tuple[str, _Given]]:
    for key, given in _file(home / CONFIG_FILE, must_exist=False):
        if key == "home":
            raise UsageError(
                f"{given.origin} sets 'home', and lies in the home itself",
                hint="set PLAYHEAD_HOME, and take the key out",
            )
        yield key, given


def _parsed(path: Path, *, must_exist: bool) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if not must_exist:
            return {}
        raise UsageError(f"{CONFIG_VARIABLE} names {path}, which is not there", hint="correct or unset it") from error
    except OSError as error:
        raise UsageError(
            f"the settings in {path} cannot be read: {error.strerror}", hint="let this user read the file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is not TOML: {error}", hint='a line looks like: storage = "/data/playhead"'
        ) from error


def _home(given: _Given | None) -> Path:
    value = DEFAULT_HOME if given is None else given.value
    if not isinstance(value, str | Path) or not str(value):
        assert given is not None
        raise UsageError(f"the setting 'home' of {given.origin} is {value!r}", hint="it is the path of a folder")
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as error:  # no home directory of the user is known
        raise UsageError(f"the home {str(value)!r} cannot be found: {error}", hint="set PLAYHEAD_HOME") from error


def _dashed(key: str) -> str:
    return key.replace("_", "-")
