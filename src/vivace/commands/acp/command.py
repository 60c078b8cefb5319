"""`vivace acp`: started by an editor, speaks JSON-RPC on its standard input and output until that ends."""

from __future__ import annotations

from typing import Annotated

import typer

from vivace.commands.choosing import (
    API,
    APPROVAL,
    BASE_URL,
    EFFORT,
    MODEL,
    SANDBOX,
    as_api,
    as_effort,
)
from vivace.core.errors import BadInput


def acp(
    model: MODEL = None,
    base_url: BASE_URL = None,
    api: API = None,
    effort: EFFORT = None,
    sandbox: SANDBOX = None,
    approval: APPROVAL = None,
    max_seconds: Annotated[float | None, typer.Option(help="Time of one request.")] = None,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.0,
    weights: Annotated[str | None, typer.Option(help="Keep a checkpoint's weights as fp32, bf16 or int8.")] = None,
) -> None:
    """Be the agent of an editor that speaks the Agent Client Protocol; docs/editors.md says how to set one up."""
    import asyncio

    try:
        from vivace.commands.acp.serving import serve
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "acp":
            raise
        raise BadInput("editors need one more package: pip install 'vivace[acp]'") from None
    from vivace.harness.policy.policy import as_approval, as_sandbox
    from vivace.recipe.agent import Choice

    choice = Choice(model, base_url, as_api(api), as_effort(effort), temperature, max_seconds, weights=weights)
    asyncio.run(serve(choice, None if sandbox is None else as_sandbox(sandbox),
                      None if approval is None else as_approval(approval)))
