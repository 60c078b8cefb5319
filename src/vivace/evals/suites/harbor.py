"""Harbor's task folders, read as they are: task.toml, instruction.md, environment/, solution/, tests/ (schema 1.x)."""

from __future__ import annotations

import json
import math
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.types import Record

UNITS = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}
_HARMLESS = ("FROM", "LABEL", "CMD", "ENTRYPOINT", "EXPOSE", "MAINTAINER")


class HarborTask(Record):
    """One folder. Seconds are its own, with Harbor's defaults where it names none."""

    id: str
    cluster: str
    folder: Path
    instruction: str
    agent_seconds: float
    verifier_seconds: float
    build_seconds: float
    image: str
    cpus: float | None
    memory_mb: int | None
    network: bool
    workdir: str | None
    users: dict[str, str]
    """Who works ("agent") and who grades ("verifier"), where the task says it."""
    env: dict[str, str]
    verifier_env: dict[str, str]
    beyond: str = ""
    """What of the task is not read here; such a task has no verdict."""


def read_task(suite: str, folder: Path) -> HarborTask:
    """BadInput: it is no such folder."""
    try:
        held = tomllib.loads((folder / "task.toml").read_text())
        instruction = (folder / "instruction.md").read_text()
        environment, verifier, agent = (held.get(part, {}) for part in ("environment", "verifier", "agent"))
        users = {who: str(part["user"]) for who, part in (("agent", agent), ("verifier", verifier)) if part.get("user")}
        return HarborTask(
            id=f"{suite}/{folder.name}", cluster=str(held.get("metadata", {}).get("category", "")), folder=folder,
            instruction=instruction, agent_seconds=float(agent.get("timeout_sec", 600)),
            verifier_seconds=float(verifier.get("timeout_sec", 600)),
            build_seconds=float(environment.get("build_timeout_sec", 600)),
            image=str(environment.get("docker_image") or ""), cpus=environment.get("cpus"),
            memory_mb=megabytes(environment.get("memory_mb", environment.get("memory"))), network=_network(environment),
            workdir=environment.get("workdir"), users=users, env=_texts(environment.get("env")),
            verifier_env=_texts(verifier.get("env")), beyond=_beyond(held, folder))
    except (OSError, tomllib.TOMLDecodeError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{folder} is no task in Harbor's format: {error}") from error


def read_folder(suite: str, path: Path) -> list[HarborTask]:
    """All tasks in a folder, by name; a folder that is a task itself is one. BadInput: there is none."""
    folders = [path] if (path / "task.toml").exists() else sorted(file.parent for file in path.glob("*/task.toml"))
    if not folders:
        folders = sorted(file.parent for file in path.glob("tasks/*/task.toml"))
    if not folders:
        raise BadInput(f"no folder with a task.toml in {path}; give the folder that holds the tasks")
    return [read_task(suite, folder) for folder in folders]


def megabytes(value: Any) -> int | None:
    """2048, "2G" or "512M" as MiB."""
    if value is None or isinstance(value, int | float):
        return None if value is None else int(value)
    text = str(value).strip().lower().removesuffix("b").removesuffix("i")
    return int(float(text[:-1]) * UNITS[text[-1]]) if text[-1:] in UNITS else int(float(text))


def reward(text: bytes | None, structured: bytes | None) -> dict[str, float] | None:
    """What tests left in reward.txt (a number) or reward.json (a dict of numbers); None if it is neither."""
    try:
        if text is not None and text.strip():
            found = {"reward": float(text)}
        elif structured is not None:
            found = {str(key): float(value) for key, value in json.loads(structured).items()}
        else:
            return None
    except (ValueError, TypeError, AttributeError):
        return None
    return found if found and all(math.isfinite(value) for value in found.values()) else None


def total(rewards: Mapping[str, float]) -> float:
    """The one number: `reward`, else the mean of all."""
    return rewards["reward"] if "reward" in rewards else sum(rewards.values()) / len(rewards)


def copied(task: HarborTask) -> tuple[str, dict[str, Path], dict[str, str]] | str:
    """(working folder, files by their place in it, environment) of a Dockerfile that only copies, or why it does more.

    Such an environment needs no image: what the task is about lies in its folder.
    """
    file = task.folder / "environment" / "Dockerfile"
    if not file.exists():
        return "it has no Dockerfile" if not task.image else f"it needs the image {task.image}"
    workdir, files, env = task.workdir or "/", dict[str, Path](), dict[str, str]()
    for line in _instructions(file.read_text()):
        word, _, rest = line.partition(" ")
        word = word.upper()
        if word in _HARMLESS:
            continue
        if word == "WORKDIR":
            workdir = rest.strip()
        elif word == "ENV" and "=" in rest:
            env |= dict(part.split("=", 1) for part in shlex.split(rest) if "=" in part)
        elif word == "COPY" and "--" not in rest:
            try:
                files |= _copies(task.folder / "environment", shlex.split(rest), workdir)
            except BadInput as error:
                return str(error)
        else:
            return f"its Dockerfile does more than copy files ({word})"
    return (workdir, files, env) if workdir != "/" else "its Dockerfile names no working folder"


def _copies(context: Path, words: list[str], workdir: str) -> dict[str, Path]:
    *sources, target = words
    place = target if target.startswith("/") else f"{workdir.rstrip('/')}/{target}"
    if not (place.rstrip("/") + "/").startswith(workdir.rstrip("/") + "/"):
        raise BadInput(f"its Dockerfile copies to {target}, outside of the working folder")
    inside = place[len(workdir.rstrip("/")) :].strip("/").removeprefix("./").removesuffix("/.")
    inside = "" if inside == "." else inside
    found: dict[str, Path] = {}
    for source in sources:
        start = (context / source).resolve()
        if not start.is_relative_to(context.resolve()) or not start.exists():
            raise BadInput(f"its Dockerfile copies {source}, which is not in its environment folder")
        if start.is_file():
            many = len(sources) > 1 or target.endswith(("/", ".")) or not inside
            found["/".join(part for part in (inside, start.name if many else "") if part)] = start
        for file in (one for one in start.rglob("*") if one.is_file() and start.is_dir()):
            name = file.relative_to(start).as_posix()
            if not (start == context.resolve() and name == "Dockerfile"):
                found["/".join(part for part in (inside, name) if part)] = file
    return found


def _instructions(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [line.strip() for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def _network(environment: Mapping[str, Any]) -> bool:
    if "network_mode" in environment:
        return str(environment["network_mode"]) != "no-network"
    return bool(environment.get("allow_internet", True))


def _texts(held: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in (held or {}).items()}


def _beyond(held: Mapping[str, Any], folder: Path) -> str:
    environment = held.get("environment", {})
    if held.get("steps"):
        return "it has several steps"
    if held.get("verifier", {}).get("environment_mode", "shared") != "shared":
        return "it is graded in an environment of its own"
    if environment.get("gpus"):
        return "it needs a GPU in its container"
    if environment.get("mcp_servers"):
        return "it has MCP servers"
    if environment.get("network_mode") == "allowlist":
        return "it allows some hosts only"
    if any((folder / "environment" / name).exists() for name in ("docker-compose.yaml", "docker-compose.yml")):
        return "it has several containers"
    return "" if (folder / "tests" / "test.sh").exists() else "it has no tests/test.sh"
