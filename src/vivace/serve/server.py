"""The process: uvicorn around the application, a socket of its own, and an end that lets answers finish."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from vivace.core.errors import InfraError
from vivace.serve.gateway import Gateway


class Server(uvicorn.Server):
    """The first signal ends the taking of requests; those in work have `drain_s` seconds."""

    def __init__(self, app: Starlette, gate: Gateway, host: str, port: int, drain_s: float = 30.0) -> None:
        super().__init__(uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False,
                                        timeout_graceful_shutdown=round(drain_s), server_header=False))  # fmt: skip
        self._gate = gate

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gate.draining = True
        super().handle_exit(sig, frame)

    @property
    def port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])


def log_to_stderr() -> None:
    """One JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("vivace.serve")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False


@contextlib.contextmanager
def serving(app: Starlette, gate: Gateway, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """The server in a thread; gives its address."""
    server = Server(app, gate, host, port, drain_s=5)
    thread = threading.Thread(target=server.run, name="vivace-serve", daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        if not thread.is_alive():
            raise InfraError(f"the server could not listen on {host}:{port}; is the port taken?")
    try:
        yield f"http://{host}:{server.port}"
    finally:
        gate.draining = True
        server.should_exit = True
        thread.join()
