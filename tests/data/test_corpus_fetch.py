"""Wheels come from the cache or are checked before they enter it."""

from __future__ import annotations

from pathlib import Path

import pytest
from wheels_by_hand import make_wheel, pin_of

from vivace.core.errors import BadInput, InfraError
from vivace.data.config import CorpusConfig, load_manifest
from vivace.data.fetch import fetch_wheels, place
from vivace.data.pin import manifest_text


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel cache of its own, and a pip that finds only what lies in tmp_path/index."""
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path / "cache"))
    index = tmp_path / "index"
    index.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return index


@pytest.mark.slow
def test_fetch_caches_and_replaces_a_damaged_entry(offline: Path) -> None:
    wheel = make_wheel(offline, "pkg", {"pkg.py": "x = 1\n"})
    pin = pin_of(wheel)
    damaged = offline.parent / "cache" / "wheels" / wheel.name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"half a whe")
    path = fetch_wheels([pin])["pkg"]
    assert path.read_bytes() == wheel.read_bytes()
    wheel.unlink()
    assert fetch_wheels([pin]) == {"pkg": path}  # no index is asked again


def test_a_wheel_that_differs_from_its_pin_is_refused_and_not_cached(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    pin = pin_of(make_wheel(tmp_path, "pkg", {"pkg.py": "x = 1\n"}))
    tampered = make_wheel(tmp_path, "pkg", {"pkg.py": "x = 'tampered'\n"})
    with pytest.raises(BadInput, match="does not match its pinned sha256"):
        place(tampered, pin, cache)
    assert not list(cache.iterdir())


@pytest.mark.slow
def test_no_index_is_one_clear_line(offline: Path) -> None:
    wheel = make_wheel(offline, "pkg", {})
    pin = pin_of(wheel)
    wheel.unlink()
    with pytest.raises(InfraError, match="cannot download pkg==1") as caught:
        fetch_wheels([pin])
    assert "\n" not in str(caught.value)


def test_place_names_a_missing_file(tmp_path: Path) -> None:
    pin = pin_of(make_wheel(tmp_path, "pkg", {}))
    with pytest.raises(BadInput, match="the index has no"):
        place(tmp_path / "other.whl", pin, tmp_path)


def test_manifest_round_trip_and_errors(tmp_path: Path) -> None:
    pins = [pin_of(make_wheel(tmp_path, name, {})) for name in ("b", "a")]
    path = tmp_path / "corpus.toml"
    path.write_text(manifest_text(pins))
    assert [pin.name for pin in load_manifest(path)] == ["a", "b"]
    path.write_text(manifest_text([*pins, pins[0]]))
    with pytest.raises(BadInput, match="twice"):
        load_manifest(path)
    path.write_text(manifest_text(pins).replace("sha256", "sha265"))
    with pytest.raises(BadInput, match="not a corpus manifest"):
        load_manifest(path)
    with pytest.raises(BadInput, match="no corpus manifest"):
        load_manifest(tmp_path / "absent.toml")


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="vocab_sise"):
        CorpusConfig.model_validate({"vocab_sise": 1})
