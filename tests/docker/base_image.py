"""`python -m tests.docker.base_image FOLDER`: a small system with Python, as a tar file to be imported into a Docker engine. No registry.

Made by debootstrap from the mirror that this machine's own apt uses, in about a minute, and kept in the folder: the next one who asks
has it at once. Beside it go the wheels of Playhead's dependencies, for an image that is built without a network.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

PACKAGES: Final = ("python3", "python3-pip", "ca-certificates")
MAKE_SECONDS: Final = 900.0  # a mirror may be slow
WHEELS_SECONDS: Final = 600.0
EXTRAS: Final = "dask"  # what flows in containers compute with, in the tests
ROOT: Final = Path(__file__).parents[2]
_NOT_IN_IT: Final = (
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/locale/*",
)


def cache_folder() -> Path:
    """Where it is kept unless somebody says otherwise."""
    given = os.environ.get("PLAYHEAD_TEST_IMAGES")
    return Path(given) if given else Path.home() / ".cache" / "playhead-tests"


def base_image(folder: Path) -> Path:
    """The tar file, made if it is not there. LookupError: it cannot be made here, and why."""
    folder.mkdir(parents=True, exist_ok=True)
    suite = _suite()
    name = f"{suite}-{platform.machine()}-{sha256(' '.join(PACKAGES).encode()).hexdigest()[:8]}.tar"
    with (folder / f"{name}.lock").open("w") as lock:  # two sessions make one
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists():
            _make(folder / name, suite)
    return folder / name


def wheels(folder: Path) -> Path:
    """A folder with the wheels of what Playhead needs, for this interpreter's minor version. LookupError: they cannot be had."""
    wanted = sorted(requirement for requirement in distribution("playhead").requires or () if _needed(requirement))
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    kept = folder / f"wheels-{minor}-{sha256(' '.join(wanted).encode()).hexdigest()[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{kept.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=folder) as made:
                plain = [requirement.partition(";")[0].strip() for requirement in wanted]
                _run([sys.executable, "-m", "pip", "wheel", "-q", "--wheel-dir", made, *plain], WHEELS_SECONDS)
                shutil.copytree(made, f"{kept}+", dirs_exist_ok=True)
                Path(f"{kept}+").rename(kept)
    return kept


def playhead_wheel(folder: Path) -> Path:
    """Playhead's own wheel, of the source as it is now."""
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    _run(build, WHEELS_SECONDS)
    return next(folder.glob("playhead-*.whl"))


def _needed(requirement: str) -> bool:
    _, _, marker = requirement.partition(";")
    return "extra" not in marker or marker.strip() in (f"extra == '{EXTRAS}'", f'extra == "{EXTRAS}"')


def _suite() -> str:
    """The release of Debian that this machine is of: its interpreter is then most likely of the same minor version."""
    fields = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if fields.get("ID") != "debian":
        raise LookupError("this machine is no Debian: debootstrap has no mirror to make an image from")
    return fields["VERSION_CODENAME"]


def _mirror(suite: str) -> str:
    """Where this machine's own apt has its packages from."""
    listed = _run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Identifier: Packages"], 60
    )
    for line in listed.splitlines():
        codename, component, uri = line.split(" ", 2)
        if (codename, component) == (suite, "main"):
            return uri
    raise LookupError(f"apt of this machine has no mirror for {suite}: see /etc/apt/sources.list")


def _make(target: Path, suite: str) -> None:
    if os.getuid() != 0:
        raise LookupError("an image is made by debootstrap, which needs root")
    if shutil.which("debootstrap") is None:
        raise LookupError("debootstrap is not installed: apt-get install debootstrap")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        root = Path(folder) / "root"
        included = f"--include={','.join(PACKAGES)}"
        _run(["debootstrap", "--variant=minbase", included, suite, str(root), _mirror(suite)], MAKE_SECONDS)
        unfinished = f"{target}+"
        _run(
            ["tar", "-C", str(root), *(f"--exclude={name}" for name in _NOT_IN_IT), "-cf", unfinished, "."],
            MAKE_SECONDS,
        )
        Path(unfinished).rename(target)


def _run(command: list[str], seconds: float) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise LookupError(f"{command[0]} failed: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else cache_folder()
    print(base_image(place))
    print(wheels(place))
