"""The doctor's look at a real engine."""

from __future__ import annotations

import pytest

from tests.docker.host import DockerHost

pytestmark = pytest.mark.docker


def test_the_doctor_looks_at_the_engine_that_the_user_means(host: DockerHost) -> None:
    (sound,) = [found for found in host.json("doctor") if found["part"] == "docker"]
    assert sound["health"] == "ok"
    assert sound["text"].startswith(f"{host.engine.host}, version ")
    away = host.json("doctor", "--docker-host", f"unix://{host.home}/nothing", check=False)
    (found,) = [found for found in away if found["part"] == "docker"]
    assert (found["health"], "start the engine" in found["todo"]) == ("fail", True)
