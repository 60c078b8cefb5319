from collections.abc import Iterator

import pytest

from vivace.evals import containers


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine without Docker and Podman."""
    monkeypatch.setenv(containers.SETTING, "none")
    containers.engine.cache_clear()
    yield
    containers.engine.cache_clear()
