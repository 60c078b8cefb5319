"""Asking what an editor will ask, before it does."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from typing import Any

import httpx

from vivace.connect.targets import Endpoint, agent_command
from vivace.core.errors import BadInput, EndpointFailed, InfraError, Unreachable

CONTEXT, OUTPUT = 131_072, 32_768
"""Tokens, where an endpoint does not say."""
_TOOL = {"type": "function", "function": {"name": "read_file", "description": "Read a file.", "parameters": {
    "type": "object", "properties": {"filePath": {"type": "string", "description": "path"}},
    "required": ["filePath"]}}}  # fmt: skip


def look_up(base_url: str, model: str | None) -> Endpoint:
    """What the endpoint says of its models.

    Raises:
        BadInput: no such model, or several and none is named.
        Unreachable: nobody listens there; says how to start one.
    """
    base_url = base_url.rstrip("/")
    try:
        answer = httpx.get(f"{base_url}/models", headers=_headers(), timeout=10)
        listed = answer.json().get("data", []) if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError, AttributeError):
        listed = None
    if listed is None:
        raise Unreachable(f"no list of models at {base_url}/models; start `vivace serve MODEL`, or name yours with "
                          "--base-url, or use --no-check with --model")
    found = {str(one.get("id")): one for one in listed}
    names = [name for name in found if name != "auto"]
    if model is None and len(names) != 1:
        raise BadInput(f"--model: choose one of {', '.join(found) or '(the endpoint has none)'}")
    name = model or names[0]
    if name not in found:
        raise BadInput(f"{base_url} has no model {name}; it has {', '.join(found)}")
    context = int(found[name].get("context_length") or CONTEXT)
    output = int(found[name].get("max_output_tokens") or min(OUTPUT, context // 4))
    return Endpoint(base_url, name, context, output)


def check_chat(endpoint: Endpoint) -> str:
    """A streamed answer with a tool declared and usage asked for, as editors ask. Returns what was seen.

    Raises:
        EndpointFailed: it was refused, or did not come as a stream with usage at its end.
    """
    body = {"model": endpoint.model, "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 8,
            "messages": [{"role": "user", "content": "Say hello."}], "tools": [_TOOL],
            "tool_choice": "auto"}  # fmt: skip
    pieces = usage = 0
    try:
        with httpx.stream("POST", f"{endpoint.base_url}/chat/completions", json=body, headers=_headers(),
                          timeout=120) as answer:
            if answer.status_code != 200:
                raise EndpointFailed(f"{endpoint.base_url}/chat/completions answers {answer.status_code}: "
                                     f"{answer.read().decode(errors='replace')[:200]}")
            for line in answer.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    event = json.loads(line[6:])
                    pieces += bool(event.get("choices"))
                    usage += (event.get("usage") or {}).get("total_tokens", 0)
    except (httpx.HTTPError, ValueError) as error:
        raise EndpointFailed(f"{endpoint.base_url}/chat/completions: {error}") from None
    if not pieces or not usage:
        raise EndpointFailed(f"{endpoint.base_url}/chat/completions gave {pieces} pieces and {usage} tokens of usage; "
                             "an editor needs both")
    return f"a streamed answer with a tool declared: {pieces} pieces, {usage} tokens"


def check_agent(endpoint: Endpoint, seconds: float = 60.0) -> str:
    """Start the agent as the editor will, and shake hands.

    Raises:
        InfraError: it does not start, or does not answer.
    """
    program, arguments = agent_command(endpoint)
    hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": 1,
             "clientCapabilities": {}}}  # fmt: skip
    with subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            assert process.stdin and process.stdout and process.stderr  # noqa: PT018
            process.stdin.write(json.dumps(hello) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            process.stdin.close()
            answer: Any = json.loads(line) if line.strip() else {}
            if "result" not in answer:
                said = process.stderr.read().strip().splitlines()
                raise InfraError(f"{program} acp does not answer: {said[-1] if said else line.strip() or 'nothing'}")
        except (BrokenPipeError, ValueError) as error:
            raise InfraError(f"{program} acp does not answer: {error}") from None
        finally:
            timer.cancel()
            process.kill()
    info = answer["result"].get("agentInfo") or {}
    return f"the agent starts and speaks version {answer['result']['protocolVersion']} ({info.get('version', '?')})"


def _headers() -> dict[str, str]:
    key = os.environ.get("VIVACE_API_KEY") or os.environ.get("OPENAI_API_KEY")
    return {"authorization": f"Bearer {key}"} if key else {}
