"""Settings of the user, and of a repository whose folder the user trusts.

The user's are in config.toml below ~/.config/vivace. A repository may bring .vivace/config.toml of the same form: it
counts only once the user has said `vivace trust` there, only with the very contents trusted, and can make the policy
stricter but not laxer.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from vivace.core.errors import BadInput
from vivace.core.files import read_json, state_dir, write_json
from vivace.harness.policy.policy import Approval, Policy, SandboxMode
from vivace.harness.policy.protected import CONTROL

NAME = "config.toml"
ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,32}$")]
"""Without underscores: they part it from the name of the tool."""
_NO_CONFIG = "-"  # what was trusted had no settings


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PolicyPart(_Part):
    """[policy]"""

    sandbox: SandboxMode | None = None
    approval: Approval | None = None
    protected: list[str] = Field(default_factory=list)


class Server(_Part):
    """[mcp.NAME]: a tool server that speaks MCP on its standard input and output. `trusted`: its tools are used without
    asking (only in the user's own settings)."""

    command: str
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    trusted: bool = False
    timeout_s: float = Field(default=60.0, gt=0)


class TelemetryPart(_Part):
    """[telemetry]: whether what becomes of changes is noted, on this machine only."""

    enabled: bool = False


class Config(_Part):
    """A whole file."""

    policy: PolicyPart = Field(default_factory=PolicyPart)
    mcp: dict[ServerName, Server] = Field(default_factory=dict)
    telemetry: TelemetryPart = Field(default_factory=TelemetryPart)


@dataclass(frozen=True)
class Settings:
    """What is in force for one checkout. `notice`: something the user should know, or ""."""

    policy: Policy
    servers: dict[str, Server]
    telemetry: bool
    trusted: bool
    notice: str = ""


def settings(
    repo: Path, sandbox: SandboxMode | None = None, approval: Approval | None = None, unattended: bool = False
) -> Settings:
    """The settings for the checkout `repo`; what is given here comes from the command line and goes before the user's
    file, but not before what a trusted repository takes away.

    Raises:
        BadInput: a settings file is wrong, the policy does not go together, or the checkout cannot be read.
    """
    if not _readable(repo):
        raise BadInput(f"{repo} cannot be read; check its permissions")
    mine = _load(config_path())
    servers = dict(mine.mcp)
    policy = Policy(
        sandbox or mine.policy.sandbox or "workspace-write", approval or mine.policy.approval or "on-request",
        tuple(mine.policy.protected), frozenset(name for name, server in mine.mcp.items() if server.trusted),
        unattended,
    )  # fmt: skip
    theirs = repo_config(repo)
    trusted, same = _trust_of(repo)
    notice = ""
    if theirs.exists() and not (trusted and same):
        why = "changed since you trusted it" if trusted else "is not used until you trust it"
        notice = f"{CONTROL}/{NAME} of this folder {why}: read it, then say `vivace trust`"
    elif theirs.exists():
        found = _load(theirs)
        policy = policy.tightened(found.policy.sandbox, found.policy.approval, tuple(found.policy.protected))
        servers = {**found.mcp, **servers}
    return Settings(policy, servers, mine.telemetry.enabled, trusted and same, notice)


def _readable(repo: Path) -> bool:
    try:
        return not repo.is_dir() or os.access(repo, os.R_OK | os.X_OK)
    except PermissionError:  # of a folder above it
        return False


def trust(repo: Path) -> None:
    """Remember that the user trusts this folder, with its settings as they are now.

    Raises:
        BadInput: no such folder, or its settings are wrong.
    """
    if not repo.is_dir():
        raise BadInput(f"{repo} is not a folder; name the root of a checkout")
    if repo_config(repo).exists():
        _load(repo_config(repo))
    write_json(_trust_path(), {**_trusted(), str(repo.resolve()): _digest(repo)})


def distrust(repo: Path) -> bool:
    """Forget that; False if there was nothing to forget."""
    known = _trusted()
    gone = known.pop(str(repo.resolve()), None)
    write_json(_trust_path(), known)
    return gone is not None


def is_trusted(repo: Path) -> bool:
    """Whether the user trusts this folder as it is now."""
    trusted, same = _trust_of(repo)
    return trusted and same


def config_path() -> Path:
    """The user's settings: below VIVACE_CONFIG, else $XDG_CONFIG_HOME/vivace (~/.config/vivace)."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(os.environ.get("VIVACE_CONFIG") or Path(home) / "vivace") / NAME


def repo_config(repo: Path) -> Path:
    """Where a repository's settings would be."""
    return repo.resolve() / CONTROL / NAME


def _trust_of(repo: Path) -> tuple[bool, bool]:
    known = _trusted().get(str(repo.resolve()))
    return known is not None, known == _digest(repo)


def _trusted() -> dict[str, str]:
    path = _trust_path()
    return read_json(path, "delete it and trust your folders again") if path.exists() else {}


def _trust_path() -> Path:
    return state_dir() / "trust.json"


def _digest(repo: Path) -> str:
    path = repo_config(repo)
    if path.is_symlink() or path.parent.is_symlink():
        return "link"  # what it leads to could change unseen: never the same as what was trusted
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else _NO_CONFIG


def _load(path: Path) -> Config:
    if not path.exists():
        return Config()
    if path.is_symlink() and path.parent.name == CONTROL:
        raise BadInput(f"{path} is a symlink; put the settings there themselves")
    try:
        return Config.model_validate(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not TOML ({error}); mend it or move it away") from None
    except ValidationError as error:
        raise BadInput(f"{path}: {_first(error)}") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from None


def _first(error: ValidationError) -> str:
    found: Any = error.errors()[0]
    *above, name = (str(part) for part in found["loc"])
    if found["type"] != "extra_forbidden":
        return f"{'.'.join([*above, name])}: {found['msg']}"
    known: list[str] = {"policy": list(PolicyPart.model_fields), "telemetry": list(TelemetryPart.model_fields),
                        "mcp": list(Server.model_fields)}.get(above[0] if above else "", list(Config.model_fields))
    close = get_close_matches(name, known, n=1)
    return f"unknown key {'.'.join([*above, name])}; " + (f"did you mean {close[0]}?" if close else
                                                            f"the keys are {', '.join(known)}")
