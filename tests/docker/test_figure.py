"""The benchmark's question about containers can be asked of this engine. No figure is judged here."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.questions.docker import starts

from tests.docker.conftest import Docker

pytestmark = pytest.mark.docker


def test_the_benchmark_of_a_container_s_start_can_be_asked(docker: Docker, tmp_path: Path) -> None:
    ours, bare = starts(tmp_path, docker.engine.host, docker.image, runs=1)
    assert len(ours) == len(bare) == 1
    assert min(*ours, *bare) > 0
