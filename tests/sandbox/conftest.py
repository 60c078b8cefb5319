"""Every test that takes `sandbox` runs once per backend; a backend that this machine cannot have is skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vivace.core.errors import SandboxError
from vivace.sandbox import Sandbox, Workspace, open_sandbox


@pytest.fixture(scope="session", params=["bubblewrap", "landlock"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    try:
        return open_sandbox(request.param)
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def any_sandbox() -> Sandbox:
    return open_sandbox()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    root = tmp_path / "base"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "__init__.py").write_text("def one():\n    return 1\n")
    (root / "README.md").write_text("no newline at the end")
    (root / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (root / "run.sh").chmod(0o755)
    (root / "link.md").symlink_to("README.md")
    return root


@pytest.fixture
def workspace(base: Path, sandbox: Sandbox) -> Iterator[Workspace]:
    with Workspace(base, sandbox) as opened:
        yield opened
