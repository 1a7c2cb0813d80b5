"""Settings: which place goes before which, and what is said of a wrong one. Homes: made once, for their user only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from playhead.errors import PlayheadError, StorageLost, StorageUnavailable, TrustError, UsageError
from playhead.home import Home
from playhead.settings import Settings
from playhead.trust.keys import MasterKey
from tests.client_side.world import home_in


def test_defaults_lie_in_the_home(tmp_path: Path) -> None:
    settings = Settings.load({"home": str(tmp_path)}, env={})
    assert settings.home == tmp_path
    assert settings.server_url is None
    assert settings.storage_url == (tmp_path / "storage").as_uri()
    assert settings.store_url == f"sqlite://{tmp_path}/log.db"
    assert settings.lease_seconds == 15.0


def test_a_flag_goes_over_a_variable_over_the_named_file_over_the_home_s(tmp_path: Path) -> None:
    home, named = tmp_path / "home", tmp_path / "named.toml"
    home.mkdir()
    (home / "config.toml").write_text('server = "http://home"\nstorage = "home"\nstore = "home"\nlease_seconds = 1\n')
    named.write_text('server = "http://named"\nstorage = "named"\nstore = "named"\n')
    env = {
        "PLAYHEAD_HOME": str(home),
        "PLAYHEAD_CONFIG": str(named),
        "PLAYHEAD_SERVER": "http://env",
        "PLAYHEAD_STORAGE": "env",
    }
    settings = Settings.load({"server": "http://flag", "storage": None}, env=env)
    told = (settings.server_url, settings.storage_url, settings.store_url, settings.lease_seconds)
    assert told == ("http://flag", "env", "named", 1.0)


def test_the_named_file_may_name_the_home(tmp_path: Path) -> None:
    named = tmp_path / "named.toml"
    named.write_text(f'home = "{tmp_path}/elsewhere"\n')
    assert Settings.load(env={"PLAYHEAD_CONFIG": str(named)}).home == tmp_path / "elsewhere"


def test_an_empty_variable_counts_as_not_given(tmp_path: Path) -> None:
    assert Settings.load(env={"PLAYHEAD_HOME": str(tmp_path), "PLAYHEAD_SERVER": ""}).server_url is None


def test_strange_letters_in_the_home_s_path_stay_what_they_are(tmp_path: Path) -> None:
    home = home_in(tmp_path / "a b%41?#")
    home.storage.create_if_absent("x", b"1")
    assert (tmp_path / "a b%41?#" / "storage" / "x").read_bytes() == b"1"


def test_allowed_hosts_are_a_list_in_a_file_and_stand_with_commas_in_a_variable(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('allowed_hosts = ["a.example", "b.example"]\n')
    assert Settings.load({"home": str(tmp_path)}, env={}).allowed_hosts == ("a.example", "b.example")
    env = {"PLAYHEAD_ALLOWED_HOSTS": "c.example, 10.0.0.1,"}
    assert Settings.load({"home": str(tmp_path)}, env=env).allowed_hosts == ("c.example", "10.0.0.1")
    flags = {"home": str(tmp_path), "allowed_hosts": ["d.example"]}
    assert Settings.load(flags, env=env).allowed_hosts == ("d.example",)
    (tmp_path / "config.toml").write_text("allowed_hosts = 3\n")
    with pytest.raises(UsageError, match=r"'allowed_hosts' of .*config\.toml"):
        Settings.load({"home": str(tmp_path)}, env={})


BAD_FILES = {
    "unknown key": ('storrage = "x"\n', ("'storrage'", "did you mean 'storage'?")),
    "wholly unknown key": ("colour = 3\n", ("'colour'", "the settings are: home, server")),
    "no TOML": ("server = \n", ("is not TOML", "line 1")),
    "no text": (b"\xff\xfe", ("is not TOML",)),
    "wrong type": ('lease_seconds = "soon"\n', ("'lease_seconds'", "'soon'")),
    "no lease": ("lease_seconds = 0\n", ("'lease_seconds'", "greater than 0")),
    "endless lease": ("lease_seconds = inf\n", ("'lease_seconds'",)),
    "a table": ("[server]\nurl = 1\n", ("'server'",)),
    "the home in its own file": ('home = "/x"\n', ("sets 'home'", "PLAYHEAD_HOME")),
}


@pytest.mark.parametrize(("content", "told"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_named_with_its_key(tmp_path: Path, content: str | bytes, told: tuple[str, ...]) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError) as caught:
        Settings.load({"home": str(tmp_path)}, env={})
    for words in (str(file), *told):
        assert words in str(caught.value)


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(UsageError, match="'lease_seconds' of PLAYHEAD_LEASE_SECONDS does not fit"):
        Settings.load(env={"PLAYHEAD_HOME": "/x", "PLAYHEAD_LEASE_SECONDS": "never"})


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"PLAYHEAD_CONFIG names .*gone.toml, which is not there"):
        Settings.load(env={"PLAYHEAD_HOME": str(tmp_path), "PLAYHEAD_CONFIG": str(tmp_path / "gone.toml")})


class TestHome:
    def test_it_is_made_for_its_user_only_and_keeps_its_key(self, tmp_path: Path) -> None:
        first = home_in(tmp_path / "deep" / "home")
        assert stat.S_IMODE(first.path.stat().st_mode) == 0o700
        assert home_in(tmp_path / "deep" / "home").keys.current.id == first.keys.current.id

    def test_a_key_in_the_environment_goes_before_its_own(self, tmp_path: Path) -> None:
        key = MasterKey.random()
        assert home_in(tmp_path / "home", PLAYHEAD_KEY=key.export()).keys.current.id == key.id

    @pytest.mark.parametrize(
        ("path", "kind", "told"),
        [
            ("/dev/null", UsageError, "/dev/null is a file"),
            ("/dev/null/home", StorageUnavailable, "cannot make the home /dev/null/home"),
            ("/proc/home", StorageUnavailable, "cannot make the home /proc/home"),
        ],
    )
    def test_one_that_cannot_be_made_is_a_clear_error(self, path: str, kind: type[PlayheadError], told: str) -> None:
        with pytest.raises(kind) as caught:
            home_in(Path(path))
        assert told in str(caught.value)
        assert caught.value.hint

    def test_a_key_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        home_in(tmp_path)
        (tmp_path / "key").chmod(0o644)
        with pytest.raises(TrustError, match="chmod 600"):
            home_in(tmp_path)

    def test_a_storage_that_is_not_the_known_one_is_lost_and_none_is_made(self, tmp_path: Path) -> None:
        home = home_in(tmp_path)
        with pytest.raises(StorageLost, match=r"run 1 is kept in storage feed") as caught:
            home.storage_of("run 1", "feed" * 8)
        assert "PLAYHEAD_STORAGE" in str(caught.value)
        assert not (tmp_path / "storage").exists()

    def test_the_user_s_own_home_is_opened_from_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path / "mine"))
        assert Home.open().path == tmp_path / "mine"
