"""The openai SDK for JavaScript, run by node. Skipped where either is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from test_json_answers import SCHEMA, check
from tiny_server import TOOLS

from vivace.core.files import cache_dir
from vivace.serve.native import NativeTarget

SCRIPT = Path(__file__).with_name("sdk.mjs")


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """node and the script, beside the installed package (imports are looked up from where the script stands)."""
    node, package = shutil.which("node"), cache_dir("js") / "node_modules" / "openai"
    if node is None:
        pytest.skip("node is not installed")
    if not package.exists():
        pytest.skip(f"the SDK is missing: npm install --prefix {cache_dir('js')} openai")
    (tmp_path / "node_modules").symlink_to(package.parent)
    return [node, str(shutil.copy(SCRIPT, tmp_path))]


def test_the_js_sdk(url: str, target: NativeTarget, program: list[str]) -> None:
    command = [*program, f"{url}/v1", json.dumps(TOOLS), json.dumps(SCHEMA)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["models"] == ["tiny"]
    assert said["plain"] == said["streamed"]
    usage = said["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert said["call"]["name"] == "grep"
    assert set(json.loads(said["call"]["arguments"])) <= {"mode"}
    assert said["finish"] == "tool_calls"
    check(json.dumps(said["parsed"]))
    check(said["response"])
    assert said["events"][0] == "response.created"
    assert said["events"][-1] == "response.completed"
    assert said["errors"] == {
        "model": ["NotFoundError", 404, "model_not_found", "model", True],
        "field": ["BadRequestError", 400, None, "temperature", True],
        "schema": ["BadRequestError", 400, "invalid_json_schema", "response_format", True],
    }
    assert said["stopped"]
    deadline = time.monotonic() + 20
    while target.engine.load != (0, 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert target.engine.load == (0, 0)  # what the program gave up is computed no longer
