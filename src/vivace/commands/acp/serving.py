"""The agent on this process's standard streams."""

from __future__ import annotations

import sys
from pathlib import Path

from acp import run_agent, stdio_streams

from vivace.commands.acp.agent import AcpAgent
from vivace.core.errors import BadInput
from vivace.harness.policy.config import settings
from vivace.harness.policy.policy import Approval, SandboxMode
from vivace.harness.telemetry.watch import Watch
from vivace.recipe.agent import Choice

MOST_BYTES = 50 << 20
"""Of one message."""


async def serve(choice: Choice, sandbox: SandboxMode | None, approval: Approval | None) -> None:
    """Answer the editor until its end of the line is closed. Whatever else prints goes to standard error.

    Raises:
        BadInput: standard input or output is a file.
    """
    try:
        reader, writer = await stdio_streams(limit=MOST_BYTES)
    except ValueError:
        raise BadInput("`vivace acp` is started by an editor, which talks to it through pipes; see docs/editors.md "
                       "or `vivace connect`") from None
    sys.stdout = sys.stderr
    agent = AcpAgent(choice, sandbox, approval)
    try:
        with Watch(settings(Path.cwd()).telemetry):
            await run_agent(agent, writer, reader)
    finally:
        agent.close()
