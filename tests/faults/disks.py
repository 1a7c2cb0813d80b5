"""File systems that a test makes and removes: small ones, and ones whose power fails. Owns mounting; breaks nothing by itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults.means import need, tool

BALLAST: Final = "ballast"
PIECE_BYTES: Final = 64 * 1024
DISK_BYTES: Final = 48 * 1024 * 1024  # enough for a home, little to copy
DISK_OPTIONS: Final = "loop,commit=300,errors=remount-ro"  # of ext4: no flush but ours, within the time of a test


@contextmanager
def small(at: Path, *, size: str) -> Generator[Path]:
    """A file system in memory, of that size (`4m`), mounted there."""
    need("mount", "umount")
    at.mkdir(parents=True, exist_ok=True)
    tool("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at))
    try:
        yield at
    finally:
        tool("umount", "--lazy", str(at))


@contextmanager
def full(disk: Path) -> Generator[None]:
    """No room on it, not for a byte; at the end what filled it is removed. Call `top_up` where something was removed meanwhile."""
    top_up(disk)
    try:
        yield
    finally:
        (disk / BALLAST).unlink()


def top_up(disk: Path) -> None:
    """Take every byte that is left."""
    fd = os.open(disk / BALLAST, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    piece = PIECE_BYTES
    try:
        while piece:
            try:
                os.write(fd, bytes(piece))
            except OSError:
                piece //= 2
    finally:
        os.close(fd)


class Disk:
    """An ext4 file system in a file. `lose_power` gives what a machine would find after its power failed at this moment."""

    def __init__(self, image: Path, mounted: Path) -> None:
        self._image = image
        self.mounted = mounted

    def turn_read_only(self) -> None:
        """At once, whatever is open for writing: what the kernel does when it finds the file system damaged."""
        device = Path(tool("losetup", "--associated", str(self._image)).partition(":")[0])
        (Path("/sys/fs/ext4") / device.name / "trigger_fs_error").write_text("planted by a test")

    @contextmanager
    def lose_power(self, at: Path) -> Generator[Path]:
        """The disk as it was flushed up to now, with none of what the system still had in memory, mounted at another place."""
        copy = at.with_suffix(".img")
        shutil.copyfile(self._image, copy)
        at.mkdir()
        tool("mount", "-o", DISK_OPTIONS, str(copy), str(at))  # replays the file system's own journal, as at a boot
        try:
            yield at
        finally:
            tool("umount", "--lazy", str(at))


@contextmanager
def disk(folder: Path) -> Generator[Disk]:
    """A disk of its own, mounted below `folder`."""
    need("mount", "umount", "mkfs.ext4", "losetup")
    image, mounted = folder / "disk.img", folder / "disk"
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    tool("mkfs.ext4", "-q", "-F", str(image))
    mounted.mkdir()
    tool("mount", "-o", DISK_OPTIONS, str(image), str(mounted))
    try:
        yield Disk(image, mounted)
    finally:
        tool("umount", "--lazy", str(mounted))
