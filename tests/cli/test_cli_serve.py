"""`vivace serve` as its users meet it, and `vivace agent` working through it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from serve.tiny_server import running
from vivace.commands.serve import native
from vivace.core.types import Message, Sampling, Task
from vivace.engine import load_client
from vivace.harness.clients.openai import OpenAIClient
from vivace.harness.prompts import opening
from vivace.harness.tools.registry import get_profile
from vivace.serve.gateway import Gateway

NANO = Path(__file__).parents[2] / "models" / "nano-base"
TASK = Task(id="t", env="", repo="", split="train", licence="", bug_patch="", gold_patch="", FAIL_TO_PASS=[],
            PASS_TO_PASS=[], problem_statement="tests/test_shapes.py fails:\ndef clamp(value, low, high):")  # fmt: skip


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(Gateway({"nano-base": native(NANO, threads=1, constrain=False)})) as url:
        yield url


def test_the_same_tokens_as_in_process(url: str) -> None:
    """Two turns of the agent, greedy: by API with schemas, and in-process with signatures in the prompt."""
    profile, sampling = get_profile("copilot"), Sampling(temperature=0, max_tokens=48)
    inside, outside = load_client(NANO, max_slots=2, threads=1), OpenAIClient(url, "nano-base", retries=0)
    mine, theirs = opening(TASK, profile, native=True), opening(TASK, profile, native=False)
    ids = inside.codec.render(mine)[0]
    try:
        for _ in range(2):
            ids += inside.codec.generation_prompt()
            here = inside.complete(mine, sampling=sampling, prompt_ids=ids)
            there = outside.complete(theirs, tools=profile.schemas(), sampling=sampling)
            assert here.ids is not None
            assert there.usage.input_tokens == len(ids)
            assert there.usage.output_tokens == len(here.ids)
            assert there.finish_reason == here.finish_reason
            assert there.message.content == here.message.content
            assert [call.name for call in there.message.tool_calls] == [call.name for call in here.message.tool_calls]
            ids += here.ids + ([] if here.ids[-1] == inside.codec.end else [inside.codec.end])
            ids += inside.codec.message(Message(role="user", content="go on"))[0]
            theirs += [there.message, Message(role="user", content="go on")]
    finally:
        inside.close()
        outside.close()


@pytest.mark.slow
def test_the_agent_works_through_the_server(url: str, vivace: Callable, repo: Path) -> None:
    before = httpx.get(f"{url}/status.json").json()["answers"]
    done = vivace("agent", "say what clamp does", "--repo", repo, "--base-url", f"{url}/v1", "--model", "nano-base",
                  "--yes")  # fmt: skip
    assert done.code in (0, 1), done.err
    assert re.search(r"tokens generated \([\d,]+ read\) in \d+ turns", done.out)
    assert httpx.get(f"{url}/status.json").json()["answers"] > before


def test_a_real_process_drains_and_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from vivace.cli import main; main()", "serve", str(NANO), "--port", str(port),
               "--threads", "1", "--api-key", "k"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONUNBUFFERED": "1"})  # fmt: skip
    try:
        assert process.stdout is not None
        assert f"serving nano-base at http://127.0.0.1:{port}" in process.stdout.readline()
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, timeout=60, transport=httpx.HTTPTransport(retries=5)) as http:
            assert http.get("/ready").status_code == 200
            body = {"messages": [{"role": "user", "content": "def f"}], "max_tokens": 60, "stream": True}
            with http.stream("POST", "/v1/chat/completions", json=body, headers={"x-api-key": "k"}) as answer:
                lines = answer.iter_lines()
                next(lines)
                process.send_signal(signal.SIGTERM)
                assert [line for line in lines if line][-1] == "data: [DONE]"
        assert process.wait(60) in (0, -signal.SIGTERM)
        assert process.stderr is not None
        logged = [json.loads(line) for line in process.stderr.read().splitlines()]
        assert logged[-1]["path"] == "/v1/chat/completions"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no checkpoint at nowhere"),
        ([NANO, "--backend", "vllm"], "vllm is not installed"),
        ([NANO, "--backend", "x"], "no backend 'x'"),
        (["a=http://x"], "is not NAME=URL@MODEL"),
        ([NANO, "--port", "99999"], "--port is 99999"),
        ([NANO, "--router", NANO / "config.json"], "was made for other features|is not a router"),
    ],
)
def test_one_line_for_each_mistake(vivace: Callable, arguments: list[object], said: str) -> None:
    done = vivace("serve", *arguments)
    assert done.code == 2
    assert re.search(said, done.err)
    assert len(done.err.splitlines()) == 1
