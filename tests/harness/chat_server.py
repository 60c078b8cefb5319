"""A real HTTP server that answers chat completions from a list, faults included."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]
"""Status and body: a dict is sent as JSON, a string as it is; status 0 closes the connection, -1 never answers."""


class ChatServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answers: list[Answer], models: list[str] | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.models = list(answers), models
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_GET(self) -> None:
        if self.server.models is None:
            self._send(404, "no such page")
        else:
            self._send(200, {"data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append(json.loads(body))
        self.server.headers.append(dict(self.headers.items()))
        status, answer = self.server.answers.pop(0) if self.server.answers else (500, "nothing left to say")
        if status == -1:
            time.sleep(1.0)
        if status <= 0:
            self.close_connection = True
            return
        self._send(status, answer)

    def _send(self, status: int, answer: Any) -> None:
        data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(*answers: Answer, models: list[str] | None = None) -> Iterator[ChatServer]:
    server = ChatServer(list(answers), models)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def said(content: str = "", *calls: tuple[str, Any], finish: str = "stop", usage: Any = None) -> Answer:
    """A successful answer; the arguments of calls may be a dict or the text that a server sends."""
    wire: dict[str, Any] = {"role": "assistant", "content": content or None}
    if calls:
        wire["tool_calls"] = [
            {
                "id": f"id{number}",
                "type": "function",
                "function": {"name": name, "arguments": args if isinstance(args, str) else json.dumps(args)},
            }
            for number, (name, args) in enumerate(calls)
        ]
    answer: dict[str, Any] = {"choices": [{"index": 0, "message": wire, "finish_reason": finish}]}
    if usage is not None:
        answer["usage"] = usage
    return 200, answer
