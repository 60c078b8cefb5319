"""A model by HTTP that gives the authored answers of a suite, slowly enough to be interrupted, and counts requests."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class AnswerServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, known: Mapping[str, str], delay: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.known, self.delay = dict(known), delay
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: AnswerServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question = body["messages"][-1]["content"]
        with self.server.lock:
            self.server.asked[question] += 1
        time.sleep(self.server.delay)
        answer = self.server.known.get(question, "no idea")
        data = json.dumps({"choices": [{"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}],
                           "usage": {"prompt_tokens": 10, "completion_tokens": len(answer.split())}}).encode()
        try:
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:  # who asked was killed
            return
        with self.server.lock:
            self.server.answered[question] += 1

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def answering(known: Mapping[str, str], delay: float = 0.0) -> Iterator[AnswerServer]:
    server = AnswerServer(known, delay)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
