"""Models as the command line names them: a checkpoint folder, or NAME@URL for an OpenAI-compatible endpoint."""

from __future__ import annotations

import os
import re
from pathlib import Path

import httpx

from vivace.core.errors import BadInput
from vivace.evals.session import Model

_ENDPOINT = re.compile(r"(?:([\w.-]+)=)?(.+)@(https?://\S+)")
_FOLDER = re.compile(r"(?:([\w.-]+)=)?(.+)")


def open_model(text: str, prices: dict[str, tuple[float, float, float]], slots: int = 32) -> Model:
    """[LABEL=]FOLDER or [LABEL=]NAME@URL. The key of an endpoint is VIVACE_API_KEY or OPENAI_API_KEY.

    Raises:
        BadInput: no such checkpoint.
    """
    if match := _ENDPOINT.fullmatch(text):
        from vivace.harness.clients.openai import OpenAIClient

        label, name, url = match.groups()
        key = os.environ.get("VIVACE_API_KEY") or os.environ.get("OPENAI_API_KEY") or ""
        label = label or re.sub(r"[^\w.-]+", "-", name)
        client = OpenAIClient(url, name, api_key=key)
        return Model(label, client, {"endpoint": _one_address(client.url), "name": name}, prices.get(label))
    found = _FOLDER.fullmatch(text)
    label, folder = found.groups() if found else (None, text)
    path = Path(folder)
    if not (path / "config.json").exists():
        raise BadInput(f"no checkpoint at {folder}; give a folder with config.json, or NAME@URL for an endpoint")
    from vivace.engine.client import load_client
    from vivace.model.checkpoint import weights_digest

    label = label or _label(path)
    identity = {"checkpoint": weights_digest(path)}
    return Model(label, load_client(path, name=label, max_slots=slots), identity, prices.get(label))


def _one_address(url: str) -> str:
    """An endpoint's address as it is always written, so that one endpoint under two spellings is known as one."""
    parts = httpx.URL(url)
    host = "127.0.0.1" if parts.host in ("localhost", "::1", "0.0.0.0") else parts.host
    return str(parts.copy_with(host=host, userinfo=b"")).removesuffix("/chat/completions")


def _label(path: Path) -> str:
    """The folder's name; the stage's where it is runs/x/STAGE/model."""
    path = path.resolve()
    return path.parent.name if path.name == "model" else path.name
