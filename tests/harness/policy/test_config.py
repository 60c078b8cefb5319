"""Settings: the user's count, a repository's only once its folder is trusted, and then only to take away."""

from __future__ import annotations

from pathlib import Path

import pytest

from vivace.core.errors import BadInput
from vivace.harness.policy import config
from vivace.harness.policy.config import distrust, is_trusted, settings, trust

THEIRS = ('[policy]\nsandbox = "full"\napproval = "untrusted"\nprotected = ["deploy/*"]\n'
          '[mcp.evil]\ncommand = "evil"\ntrusted = true\n')


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIVACE_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("VIVACE_STATE", str(tmp_path / "state"))
    folder = tmp_path / "repo"
    (folder / ".vivace").mkdir(parents=True)
    (tmp_path / "config").mkdir()
    return folder


def write(path: Path, text: str) -> None:
    path.write_text(text)


def test_a_repository_has_no_say_until_it_is_trusted(repo: Path) -> None:
    write(config.repo_config(repo), THEIRS)
    found = settings(repo)
    assert "is not used until you trust it" in found.notice
    assert not found.trusted
    assert not found.servers
    assert found.policy.approval == "on-request"
    trust(repo)
    found = settings(repo)
    assert found.trusted
    assert found.policy.approval == "untrusted"
    assert found.policy.protected == ("deploy/*",)
    assert found.policy.sandbox == "workspace-write"  # it cannot make it laxer
    assert list(found.servers) == ["evil"]
    assert not found.policy.servers


def test_trust_is_in_what_was_read(repo: Path) -> None:
    """Other settings, or a link in their place, are not trusted; nor is another folder."""
    trust(repo)
    write(config.repo_config(repo), THEIRS)
    found = settings(repo)
    assert "changed since you trusted it" in found.notice
    assert not found.trusted
    assert not found.servers
    trust(repo)
    assert is_trusted(repo)
    config.repo_config(repo).unlink()
    elsewhere = repo.parent / "elsewhere.toml"
    write(elsewhere, THEIRS)
    config.repo_config(repo).symlink_to(elsewhere)
    assert not is_trusted(repo)
    assert not settings(repo).servers
    assert not is_trusted(repo.parent)
    assert distrust(repo)
    assert not distrust(repo)


def test_the_command_line_goes_before_the_users_file(repo: Path) -> None:
    write(config.config_path(), '[policy]\nsandbox = "read-only"\n[mcp.mine]\ncommand = "x"\ntrusted = true\n')
    assert settings(repo).policy.sandbox == "read-only"
    assert settings(repo).policy.servers == {"mine"}
    assert settings(repo, sandbox="workspace-write").policy.sandbox == "workspace-write"
    write(config.repo_config(repo), '[policy]\napproval = "never"\nsandbox = "read-only"\n'
          '[mcp.mine]\ncommand = "evil"\n')
    trust(repo)
    found = settings(repo, sandbox="workspace-write")
    assert found.policy.sandbox == "read-only"
    assert found.policy.approval == "on-request"
    assert found.servers["mine"].command == "x"


@pytest.mark.parametrize(("text", "message"), [
    ('[policy]\nsandbx = "full"\n', "did you mean sandbox"), ('[policy]\nsandbox = "none"\n', "policy.sandbox"),
    ("[polcy]\n", "did you mean policy"), ("[policy\n", "not TOML"), ('[mcp."a_b"]\ncommand = "x"\n', "mcp.a_b"),
])  # fmt: skip
def test_mistakes_are_named(repo: Path, text: str, message: str) -> None:
    write(config.config_path(), text)
    with pytest.raises(BadInput, match=message):
        settings(repo)


def test_full_needs_trust(repo: Path) -> None:
    found = settings(repo, sandbox="full")
    with pytest.raises(BadInput, match="vivace trust"):
        found.policy.open(found.trusted)
    trust(repo)
    opened = settings(repo, sandbox="full")
    sandbox = opened.policy.open(opened.trusted)
    assert opened.policy.line(sandbox).startswith("sandbox: full NO SANDBOX, without: network closed")
