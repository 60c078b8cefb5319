"""One HTTP request, read with a clock running: it can be given up at any moment, and never outlives its time.

A thread of its own does the waiting, because a blocked read can be ended in no other way.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import httpx

from vivace.core.errors import BadAnswer, CutAnswer, EndpointTimeout, Stopped, Unreachable

MOST_BYTES = 64 * 2**20
"""Of one answer."""
_POLL_S = 0.05
_AHEAD = 256  # chunks that may wait to be read


class Exchange:
    """A request under way, as a context: `status` and `headers` once `open` has returned, then `chunks`.

    Args:
        timeout_s: for the whole of it; pauses between bytes are the business of `http`.
        stopped: asked many times a second; once True, whatever waits raises `Stopped`.
    """

    def __init__(
        self, http: httpx.Client, method: str, url: str, body: Any, *, timeout_s: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.url = url
        self.status = 0
        self.headers = httpx.Headers()
        self._http, self._request = http, (method, url, body)
        self._timeout_s, self._stopped = timeout_s, stopped
        self._deadline = time.monotonic() + timeout_s
        self._items: queue.Queue[httpx.Response | bytes | Exception | None] = queue.Queue(_AHEAD)
        self._response: httpx.Response | None = None
        self._gone = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._work, name="endpoint", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gone.set()
        stream = self._response.extensions.get("network_stream") if self._response else None
        connection = stream.get_extra_info("socket") if stream else None
        if kind is not None and connection is not None:  # wakes the thread that reads from it
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        """Wait for status and headers.

        Raises:
            Unreachable, EndpointTimeout, CutAnswer: there will be none.
            Stopped: as `stopped` says.
        """
        item = self._next()
        if not isinstance(item, httpx.Response):
            raise CutAnswer(f"{self.url} closed the connection without an answer; check the server's log")
        self.status, self.headers = item.status_code, item.headers

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes. Raises as `open` does, and BadAnswer for a body without end."""
        total = 0
        while isinstance(item := self._next(), bytes):
            total += len(item)
            if total > MOST_BYTES:
                raise BadAnswer(f"{self.url} sent more than {MOST_BYTES >> 20} MiB; is it a chat endpoint?")
            yield item

    def text(self) -> str:
        """The whole body. Raises as `chunks`."""
        return b"".join(self.chunks()).decode(errors="replace")

    def _next(self) -> httpx.Response | bytes | None:
        while True:
            if self._stopped():
                raise Stopped
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise EndpointTimeout(f"{self.url} did not finish its answer in {self._timeout_s:.0f} s; use a faster "
                                      "model or allow fewer tokens")
            try:
                item = self._items.get(timeout=min(left, _POLL_S))
            except queue.Empty:
                continue
            if isinstance(item, Exception):
                raise self._typed(item) from None
            return item

    def _typed(self, error: Exception) -> Exception:
        url = self.url
        if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
            return Unreachable(f"cannot reach {url}; start the server there, or check --base-url")
        if isinstance(error, httpx.TimeoutException):
            return EndpointTimeout(f"{url} did not answer in time; raise the timeout or use a faster model")
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            return Unreachable(f"{url} is not an address; give --base-url as http://host:port/v1")
        if isinstance(error, httpx.DecodingError | httpx.TooManyRedirects):
            return BadAnswer(f"{url} sent an answer that cannot be read ({error}); check --base-url")
        return CutAnswer(f"{url} broke the connection ({error}); check the server's log")

    def _work(self) -> None:
        method, url, body = self._request
        ended: Exception | None = None
        try:
            content = None if body is None else json.dumps(body, ensure_ascii=False).encode(errors="replace")
            headers = {"content-type": "application/json"} if content else {}
            with self._http.stream(method, url, content=content, headers=headers) as response:
                self._response = response
                self._put(response)
                for chunk in response.iter_bytes():
                    if not self._put(chunk):
                        return
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError, RuntimeError) as error:
            ended = error  # RuntimeError: the client was closed meanwhile
        finally:
            self._put(ended)

    def _put(self, item: httpx.Response | bytes | Exception | None) -> bool:
        while not self._gone.is_set():
            with suppress(queue.Full):
                self._items.put(item, timeout=_POLL_S)
                return True
        return False
