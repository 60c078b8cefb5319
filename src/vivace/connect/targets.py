"""Where each editor keeps its settings, and the entry that Vivace has there."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vivace.connect import jsonc
from vivace.core.errors import BadInput

NAME = "Vivace"
_DUMMY_KEY = "vivace"  # VS Code hides models of a group without a key


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible address that ends in /v1."""

    base_url: str
    model: str
    context: int
    output: int


@dataclass(frozen=True)
class Target:
    """`file` holds the entry; `change` and `remove` give its new text. `speaks`: what has to work for it, "chat" (the
    endpoint itself) or "acp" (our agent as the editor starts it). `then`: what is left for the user to do."""

    name: str
    file: Path
    change: Callable[[str], str]
    remove: Callable[[str], str]
    speaks: str
    then: str


def agent_command(endpoint: Endpoint) -> tuple[str, list[str]]:
    """(program, arguments) by which an editor starts the agent, whatever its own PATH is."""
    found = shutil.which("vivace")
    program, first = (found, []) if found else (sys.executable, ["-m", "vivace.cli"])
    return program, [*first, "acp", "--base-url", endpoint.base_url, "--model", endpoint.model]


def target(name: str, endpoint: Endpoint, file: Path | None = None) -> Target:
    """One of `TARGETS` by name; `file` in place of where the editor looks by default. BadInput for another name."""
    if name not in TARGETS:
        raise BadInput(f"no editor {name!r}; choose one of {', '.join(TARGETS)}")
    return TARGETS[name](endpoint, file)


def _vscode(endpoint: Endpoint, file: Path | None) -> Target:
    def ours(group: Any) -> bool:
        return isinstance(group, dict) and group.get("name") == NAME and group.get("vendor") == "customendpoint"

    model = {
        "id": endpoint.model, "name": f"{endpoint.model} ({NAME})", "url": f"{endpoint.base_url}/chat/completions",
        "toolCalling": True, "vision": False, "maxInputTokens": max(1, endpoint.context - endpoint.output),
        "maxOutputTokens": endpoint.output, "streaming": True,
        # Without this the editor begins with a tool that needs a second model (insert_edit_into_file).
        "editTools": ["find-replace", "multi-find-replace"],
    }  # fmt: skip
    group = {"name": NAME, "vendor": "customendpoint", "apiKey": _DUMMY_KEY, "apiType": "chat-completions",
             "models": [model]}  # fmt: skip
    return Target(
        "vscode", file or _user_folder("Code") / "chatLanguageModels.json",
        lambda text: jsonc.put(text, [ours], group), lambda text: jsonc.take(text, [ours]), "chat",
        "in VS Code 1.122 or newer choose the model in the chat's model picker (Manage Models, if it is not shown)",
    )  # fmt: skip


def _zed(endpoint: Endpoint, file: Path | None) -> Target:
    program, arguments = agent_command(endpoint)
    entry = {"type": "custom", "command": program, "args": arguments, "env": {}}
    base = _home(".config") if sys.platform != "win32" else _roaming()
    folder = "zed" if sys.platform != "win32" else "Zed"
    return Target(
        "zed", file or base / folder / "settings.json",
        lambda text: jsonc.put(text, ["agent_servers", NAME], entry),
        lambda text: jsonc.take(text, ["agent_servers", NAME]), "acp",
        f"in Zed's agent panel begin a new thread with {NAME}",
    )  # fmt: skip


def _jetbrains(endpoint: Endpoint, file: Path | None) -> Target:
    program, arguments = agent_command(endpoint)
    entry = {"command": program, "args": arguments, "env": {}}
    return Target(
        "jetbrains", file or Path.home() / ".jetbrains" / "acp.json",
        lambda text: jsonc.put(text, ["agent_servers", NAME], entry),
        lambda text: jsonc.take(text, ["agent_servers", NAME]), "acp",
        f"in the AI chat of the IDE choose {NAME}",
    )  # fmt: skip


def _copilot_cli(endpoint: Endpoint, file: Path | None) -> Target:
    values = {
        "COPILOT_PROVIDER_BASE_URL": endpoint.base_url, "COPILOT_MODEL": endpoint.model,
        "COPILOT_PROVIDER_TYPE": "openai", "COPILOT_PROVIDER_WIRE_API": "completions",
        "COPILOT_PROVIDER_MAX_PROMPT_TOKENS": str(max(1, endpoint.context - endpoint.output)),
        "COPILOT_PROVIDER_MAX_OUTPUT_TOKENS": str(endpoint.output), "COPILOT_OFFLINE": "true",
    }  # fmt: skip
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    path = file or _home(".config") / "vivace" / "copilot-cli.sh"
    return Target("copilot-cli", path, lambda old: text, lambda old: "", "chat",
                  f"copilot reads no file of its own for this: . {shlex.quote(str(path))} && copilot")


TARGETS: dict[str, Callable[[Endpoint, Path | None], Target]] = {
    "vscode": _vscode, "zed": _zed, "jetbrains": _jetbrains, "copilot-cli": _copilot_cli,
}  # fmt: skip


def _user_folder(product: str) -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / product / "User"
    return (_roaming() if sys.platform == "win32" else _home(".config")) / product / "User"


def _home(default: str) -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / default)


def _roaming() -> Path:
    return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
