"""`vivace connect` on files as editors leave them: the entry gets in and out, the rest stays, the endpoint is asked."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.fault_server import FaultServer, chat_events, faulty
from vivace.connect.jsonc import load

VSCODE = ("[\n\t// the others\n\t{\n\t\t\"vendor\": \"ollama\",\n\t\t\"name\": \"Ollama\",\n\t\t"
          "\"url\": \"http://localhost:11434\"\n\t}\n]\n")
ZED = '// Zed settings\n{\n  "ui_font_size": 16, // large\n  "theme": { "mode": "system" },\n}\n'
JETBRAINS = '{\n  "default_mcp_settings": {},\n  "agent_servers": {\n    "Other": {"command": "other"}\n  }\n}'
USED = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / "home"


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with faulty([{"events": chat_events("Hello.", usage=USED)} for _ in range(4)]) as found:
        found.models = [{"id": "auto"}, {"id": "tiny", "context_length": 32768}]
        yield found


def kept(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def backups(file: Path) -> list[str]:
    return [one.read_text() for one in sorted(file.parent.glob(f"{file.name}.before-vivace-*"))]


def test_vscode(vivace: Callable, home: Path, server: FaultServer) -> None:
    """Shown, written with a backup and checked; once more changes nothing; taken out it is what it was."""
    file = kept(home / ".config/Code/User/chatLanguageModels.json", VSCODE)
    file.chmod(0o600)
    shown = vivace("connect", "vscode", "--base-url", server.url, "--dry-run")
    assert '+\t\t"vendor": "customendpoint",' in shown.out
    assert file.read_text() == VSCODE
    done = vivace("connect", "vscode", "--base-url", server.url)
    assert (done.code, done.err) == (0, "")
    assert "checked: a streamed answer with a tool declared" in done.out
    other, group = load(file.read_text())
    assert other == load(VSCODE)[0]
    assert "// the others" in file.read_text()
    assert (group["vendor"], group["apiType"]) == ("customendpoint", "chat-completions")
    model = group["models"][0]
    assert model["url"] == f"{server.url}/chat/completions"
    assert (model["maxInputTokens"], model["maxOutputTokens"]) == (24576, 8192)
    assert model["editTools"] == ["find-replace", "multi-find-replace"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert backups(file) == [VSCODE]
    sent = server.requests[0]
    assert (sent["stream"], sent["stream_options"], bool(sent["tools"])) == (True, {"include_usage": True}, True)
    assert "has the entry already" in vivace("connect", "vscode", "--base-url", server.url).out
    assert backups(file) == [VSCODE]
    assert vivace("connect", "vscode", "--undo").code == 0
    assert file.read_text() == VSCODE
    assert vivace("connect", "vscode", "--undo").err.endswith("has no entry of vivace\n")


def test_zed_through_a_link_and_changed_since(vivace: Callable, home: Path) -> None:
    """Settings that are a link stay one; what the user has changed since is not undone with the entry."""
    real = kept(home / "dotfiles/zed.json", ZED)
    link = home / ".config/zed/settings.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    again = ["connect", "zed", "--no-check", "--model", "tiny"]
    assert vivace(*again).code == 0
    assert link.is_symlink()
    entry = load(real.read_text())["agent_servers"]["Vivace"]
    assert entry["type"] == "custom"
    assert entry["args"][-5:] == ["acp", "--base-url", "http://127.0.0.1:8000/v1", "--model", "tiny"]
    assert all(line in real.read_text().splitlines() for line in ZED.splitlines())
    vivace(*again[:-1], "other")  # another model takes its place
    assert load(real.read_text())["agent_servers"]["Vivace"]["args"][-1] == "other"
    real.write_text(real.read_text().replace("16, // large", "20, // larger"))
    assert vivace("connect", "zed", "--undo").code == 0
    assert "20, // larger" in real.read_text()
    assert "Vivace" not in real.read_text()


def test_jetbrains_starts_the_agent_for_real(vivace: Callable, home: Path, server: FaultServer) -> None:
    file = kept(home / ".jetbrains/acp.json", JETBRAINS)
    done = vivace("connect", "jetbrains", "--base-url", server.url, "--model", "tiny")
    assert "checked: the agent starts and speaks version 1" in done.out
    assert load(file.read_text())["agent_servers"].keys() == {"Other", "Vivace"}
    assert vivace("connect", "jetbrains", "--undo").code == 0
    assert file.read_text() == JETBRAINS


def test_copilot_cli_and_no_file_before(vivace: Callable, home: Path, server: FaultServer) -> None:
    done = vivace("connect", "copilot-cli", "--base-url", server.url, "--context", "200000")
    file = home / ".config/vivace/copilot-cli.sh"
    assert f". {file} && copilot" in done.out
    assert f"export COPILOT_PROVIDER_BASE_URL={server.url}\n" in file.read_text()
    assert "COPILOT_PROVIDER_MAX_PROMPT_TOKENS=191808\n" in file.read_text()
    assert vivace("connect", "copilot-cli", "--undo").code == 0
    assert not file.exists()


def test_what_cannot_work_is_said_and_nothing_written(vivace: Callable, home: Path, server: FaultServer) -> None:
    assert "start `vivace serve MODEL`" in vivace("connect", "zed", "--base-url", "http://127.0.0.1:9/v1").err
    assert "it has auto, tiny" in vivace("connect", "zed", "--base-url", server.url, "--model", "huge").err
    assert "choose one of vscode" in vivace("connect", "emacs", "--base-url", server.url).err
    assert not (home / ".config").exists()
    file = kept(home / ".config/zed/settings.json", "{\n  theme\n}")
    assert f"{file}: line 2 is not JSON with comments" in vivace("connect", "zed", "--base-url", server.url).err
    assert file.read_text() == "{\n  theme\n}"


def test_an_endpoint_that_does_not_stream_usage(vivace: Callable, home: Path) -> None:
    with faulty([{"events": chat_events("Hello.")}]) as server:
        server.models = [{"id": "tiny"}]
        done = vivace("connect", "vscode", "--base-url", server.url)
    assert done.code == 3
    assert "0 tokens of usage; an editor needs both" in done.err
    assert json.loads((home / ".config/Code/User/chatLanguageModels.json").read_text())
