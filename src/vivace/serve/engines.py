"""Other engines behind the same front: how vLLM or SGLang is started on an exported checkpoint, and ended."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import httpx

from vivace.core.errors import BadInput, InfraError

EngineKind = Literal["vllm", "sglang"]
_CHECK_S = 1.0


def command(
    kind: EngineKind, checkpoint: Path, port: int, *, name: str, max_len: int | None = None, tensor_parallel: int = 1,
    extra: Sequence[str] = (),
) -> list[str]:
    """What starts the engine, on the loopback interface only: the front is what clients see."""
    size = str(tensor_parallel)
    if kind == "vllm":
        line = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint),
                "--served-model-name", name, "--host", "127.0.0.1", "--port", str(port),
                "--tensor-parallel-size", size, "--enable-prefix-caching"]  # fmt: skip
        return [*line, *(["--max-model-len", str(max_len)] if max_len else []), *extra]
    line = [sys.executable, "-m", "sglang.launch_server", "--model-path", str(checkpoint), "--served-model-name", name,
            "--host", "127.0.0.1", "--port", str(port), "--tp", size]  # fmt: skip
    return [*line, *(["--context-length", str(max_len)] if max_len else []), *extra]


def require_installed(kind: EngineKind) -> None:
    """BadInput when the engine's package is not here."""
    if importlib.util.find_spec(kind) is None:
        raise BadInput(f"{kind} is not installed in this environment; pip install {kind}, or leave out --backend")


def start(line: Sequence[str], port: int, wait_s: float = 900.0) -> subprocess.Popen[bytes]:
    """Start it and wait until it is healthy. InfraError when it ends before or takes too long."""
    process = subprocess.Popen(list(line))
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise InfraError(f"{line[2]} ended with code {process.returncode} before it was ready; see what it printed")
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=_CHECK_S).status_code == 200:
                return process
        except httpx.HTTPError:
            pass
        time.sleep(_CHECK_S / 4)
    stop(process)
    raise InfraError(f"{line[2]} was not ready after {wait_s:g} s")


def stop(process: subprocess.Popen[bytes], patience_s: float = 20.0) -> None:
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
