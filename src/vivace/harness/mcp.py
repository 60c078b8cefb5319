"""Tools of servers that speak the Model Context Protocol, for the length of a session (needs the extra `mcp`).

A server is a program that the user has configured; it runs on the host, with a scrubbed environment. Its tools are
called `mcp_<server>_<tool>`, and each call goes through the policy like any other. What a server says of itself and
answers is data of somebody else's.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import select
import shutil
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict

from vivace.core.errors import BadInput
from vivace.core.files import state_dir
from vivace.harness.policy.config import Server
from vivace.harness.policy.gate import SERVER_PREFIX
from vivace.harness.policy.host import scrubbed_environment
from vivace.harness.tools.base import Args, Context, Result, Tool, ToolError

if TYPE_CHECKING:
    from mcp import Client

START_SECONDS = 60.0
MOST_TOOLS, MOST_DESCRIPTION = 64, 1000
"""Of one server; characters of what it says of a tool."""
_NAME = re.compile(r"[^A-Za-z0-9_-]")


class ServerArgs(Args):
    """Whatever the server's schema asks for: the server judges it."""

    model_config = ConfigDict(extra="allow")


class ToolServers:
    """The servers of a session, running while this is open; `tools` are theirs, `problems` say which do not run."""

    def __init__(self, servers: Mapping[str, Server], cwd: Path) -> None:
        self.tools: tuple[Tool, ...] = ()
        self.problems: list[str] = []
        self._servers, self._cwd = dict(servers), cwd
        self._clients: dict[str, Client] = {}
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="mcp", daemon=True)

    def __enter__(self) -> ToolServers:
        if not self._servers:
            return self
        try:
            import mcp  # noqa: F401
        except ModuleNotFoundError:
            raise BadInput(f"the tool servers {', '.join(self._servers)} need one more package: "
                           "pip install 'vivace[mcp]'") from None
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop and self._over:
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as stack:
            found: list[Tool] = []
            for name, server in self._servers.items():
                try:
                    async with asyncio.timeout(START_SECONDS):
                        found += await self._start(name, server, stack)
                except Exception as error:  # noqa: BLE001 (another program's failure, in whatever form the SDK gives it)
                    self.problems.append(f"the tool server {name} does not run: {_words(error)}")
            self.tools = tuple({tool.name: tool for tool in found}.values())
            self._ready.set()
            await self._over.wait()

    async def _start(self, name: str, server: Server, stack: AsyncExitStack) -> list[Tool]:
        from mcp import Client, StdioServerParameters, stdio_client

        if shutil.which(server.command, path=scrubbed_environment(server.env).get("PATH")) is None:
            raise BadInput(f"there is no program {server.command}")
        log = stack.enter_context((state_dir("mcp") / f"{name}.log").open("w"))
        program = StdioServerParameters(command=server.command, args=server.args, cwd=self._cwd,
                                        env=scrubbed_environment(server.env))
        client = await stack.enter_async_context(Client(stdio_client(program, errlog=log)))
        self._clients[name] = client
        listed = (await client.list_tools()).tools
        return [self._tool(name, server, one) for one in listed[:MOST_TOOLS]]

    def _tool(self, name: str, server: Server, told: Any) -> Tool:
        def run(args: ServerArgs, ctx: Context) -> Result:
            return self._call(name, server, told.name, args.model_dump(), ctx)

        schema = {"type": "object", "properties": {}, **told.input_schema}
        description = f"{(told.description or told.name)[:MOST_DESCRIPTION]} (tool server {name})"
        return Tool(name=_NAME.sub("_", f"{SERVER_PREFIX}{name}_{told.name}")[:64], description=description,
                    args=ServerArgs, run=run, required=tuple(schema.get("required", ())), schema=schema)

    def _call(self, name: str, server: Server, tool: str, arguments: dict[str, Any], ctx: Context) -> Result:
        assert self._loop is not None
        call = asyncio.run_coroutine_threadsafe(
            self._clients[name].call_tool(tool, arguments, read_timeout_seconds=server.timeout_s), self._loop)
        stop = ctx.env.workspace.interrupt
        while True:
            try:
                answer = call.result(timeout=0.2)
                break
            except concurrent.futures.TimeoutError:
                if stop is not None and select.select([stop], [], [], 0)[0]:
                    call.cancel()
                    raise ToolError("refused", "stopped by the user") from None
            except Exception as error:  # noqa: BLE001 (as above)
                raise ToolError("unavailable", f"the tool server {name} failed: {_words(error)}") from None
        text = "\n".join(part.text if part.type == "text" else f"({part.type} is not shown)" for part in answer.content)
        if answer.is_error:
            raise ToolError("invalid_input", text or "the tool failed without a word")
        return Result(text or "(no output)")


def _words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return " ".join(str(error).split())[:200] or type(error).__name__
