"""What the owner of a Docker agent takes: which images, mounts and networks a flow may ask for. A rule of the agent (`agent/rules.py`)."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from playhead.flows.mounts import Mount
from playhead.flows.run_config import DockerRun, parse_run_config
from playhead.trust.seal import Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerAllowed:
    """Lists of what is taken.

    `images`: names, with `*` and `?`; an empty list takes every image. `mounts`: folders of the host (what lies below them is taken,
    too) and names of volumes, with `:ro` where only reading is; `networks`: their names. Empty lists of these two take none: whoever
    may mount what they like owns the host.
    """

    default_image: str | None = None
    images: Collection[str] = ()
    mounts: Collection[str] = ()
    networks: Collection[str] = ()

    def __call__(self, seal: Seal) -> str | None:
        config = parse_run_config(dict(seal.run_config))
        asked = config if isinstance(config, DockerRun) else DockerRun()
        image = asked.image or self.default_image
        if image is None:
            return "it names no image, and this agent has no default image"
        if self.images and not any(fnmatchcase(image, pattern) for pattern in self.images):
            return f"its image {image} is none of {', '.join(sorted(self.images))}"
        for text in asked.mounts:
            if not self._takes(Mount.parse(text)):
                return (
                    f"its mount {text} is not within {', '.join(sorted(self.mounts)) or 'any: this agent allows none'}"
                )
        if asked.network is not None and asked.network not in self.networks:
            return f"its network {asked.network} is none of {', '.join(sorted(self.networks)) or 'any: this agent allows none'}"
        return None

    def _takes(self, mount: Mount) -> bool:
        return any(_within(mount, allowed) for allowed in self.mounts)


def _within(mount: Mount, allowed: str) -> bool:
    source, read_only = (allowed.removesuffix(":ro"), True) if allowed.endswith(":ro") else (allowed, False)
    if read_only and not mount.read_only:
        return False
    if mount.is_volume:
        return mount.source == source
    # A link below an allowed folder leads out of it only for who can see it as the engine does: on the engine's own host.
    real, folder = PurePosixPath(os.path.realpath(mount.source)), PurePosixPath(os.path.realpath(source))
    return source.startswith("/") and real.is_relative_to(folder)
