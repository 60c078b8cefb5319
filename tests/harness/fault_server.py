"""A real HTTP server that answers byte by byte as a script says, faults included. Scripts are data: `faults/*.toml`.

A reply is a table: `status` (200), `headers`, `events` (a list: each a table sent as one server-sent event, or text
sent as it is), `body` (text instead of events), `pause` (seconds before each piece), `cut` (bytes of the body after
which the connection is reset), `drip` (send byte by byte, `pause` between), `hang` (seconds of silence at the end),
`closed` (no answer at all).
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FaultServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, replies: list[dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = list(replies)
        self.requests: list[dict[str, Any]] = []
        self.models: list[dict[str, Any]] | None = None
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up is what is tested


class _Handler(BaseHTTPRequestHandler):
    server: FaultServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        models = self.server.models
        self._reply({"status": 404, "body": "{}"} if models is None else {"body": json.dumps({"data": models})})

    def do_POST(self) -> None:
        self.server.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        replies = self.server.replies
        self._reply(replies.pop(0) if replies else {"status": 400, "body": '{"error": "nothing left to say"}'})

    def _reply(self, reply: dict[str, Any]) -> None:
        if reply.get("closed"):
            return self._reset()
        body = reply["body"].encode() if "body" in reply else b"".join(map(_event, reply.get("events", [])))
        headers = {"content-type": "application/json" if "body" in reply else "text/event-stream"}
        self.send_response(reply.get("status", 200))
        for name, value in {**headers, **reply.get("headers", {}), "transfer-encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in _pieces(body, reply):
            self._wait(reply.get("pause", 0))
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self._wait(reply.get("hang", 0))
        if "cut" in reply:
            return self._reset()
        self.wfile.write(b"0\r\n\r\n")

    def _wait(self, seconds: float) -> None:
        if seconds and self.server.over.wait(seconds):
            raise ConnectionAbortedError

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_WR)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _event(event: Any) -> bytes:
    return event.encode() if isinstance(event, str) else f"data: {json.dumps(event)}\n\n".encode()


def _pieces(body: bytes, reply: dict[str, Any]) -> Iterator[bytes]:
    body = body[: reply["cut"]] if "cut" in reply else body
    size = 1 if reply.get("drip") else max(1, len(body) // 7)  # seldom where events end
    yield from (body[at : at + size] for at in range(0, len(body), size))


@contextmanager
def faulty(replies: list[dict[str, Any]]) -> Iterator[FaultServer]:
    server = FaultServer(replies)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def chat_events(content: str = "", *calls: tuple[str, str], finish: str | None = "stop", usage: Any = None,
                done: bool = True) -> list[Any]:  # fmt: skip
    """A stream of chat completion chunks; the arguments of calls are JSON text, sent in three pieces."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": content[at : at + 5]} for at in range(0, len(content), 5)]
    for n, (name, arguments) in enumerate(calls):
        deltas.append({"tool_calls": [{"index": n, "id": f"id{n}", "function": {"name": name, "arguments": ""}}]})
        third = max(1, len(arguments) // 3)
        deltas += [{"tool_calls": [{"index": n, "function": {"arguments": arguments[at : at + third]}}]}
                   for at in range(0, len(arguments), third)]
    found: list[Any] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if finish:
        found.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage is not None:
        found.append({"choices": [], "usage": usage})
    return [*found, "data: [DONE]\n\n"] if done else found


def response_events(content: str = "", *calls: tuple[str, str], status: str = "completed", usage: Any = None
                    ) -> list[Any]:  # fmt: skip
    """A stream of the responses API."""
    output: list[dict[str, Any]] = []
    found: list[Any] = [{"type": "response.created", "response": {"status": "in_progress", "output": []}}]
    if content:
        output.append({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": content}]})
        found += [{"type": "response.output_text.delta", "delta": content[at : at + 5]}
                  for at in range(0, len(content), 5)]
    for n, (name, arguments) in enumerate(calls):
        item = {"type": "function_call", "call_id": f"id{n}", "name": name, "arguments": arguments}
        at = len(output)
        output.append(item)
        found += [{"type": "response.output_item.added", "output_index": at, "item": {**item, "arguments": ""}},
                  {"type": "response.function_call_arguments.delta", "output_index": at, "delta": arguments},
                  {"type": "response.output_item.done", "output_index": at, "item": item}]
    last = {"status": status, "output": output, "usage": usage}
    return [*found, {"type": f"response.{status}", "response": last}]
