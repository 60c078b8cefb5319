"""`vivace connect`: the entry by which an editor finds the model or the agent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def connect(
    editor: Annotated[str, typer.Argument(help="vscode, zed, jetbrains or copilot-cli.")],
    base_url: Annotated[str, typer.Option(help="The endpoint, as `vivace serve` prints it.")]
    = "http://127.0.0.1:8000/v1",
    model: Annotated[str | None, typer.Option(help="The endpoint's name of the model, if it has several.")] = None,
    context: Annotated[int | None, typer.Option(help="Tokens of its window, if the endpoint does not say.")] = None,
    config: Annotated[Path | None, typer.Option(help="The editor's file, if it is not in the usual place.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be written.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take the entry out again.")] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Ask the endpoint what the editor will.")] = True,
) -> None:
    """Write an editor's entry for Vivace (with a backup; again and again is once), and check that it will work."""
    from dataclasses import replace

    from vivace.connect import checking, writing
    from vivace.connect.targets import Endpoint, target
    from vivace.core.errors import BadInput

    if undo or not check:
        if not (undo or model):
            raise BadInput("--no-check needs --model NAME")
        window = context or checking.CONTEXT
        endpoint = Endpoint(base_url.rstrip("/"), model or "", window, min(checking.OUTPUT, window // 4))
    else:
        endpoint = checking.look_up(base_url, model)
        if context:
            endpoint = replace(endpoint, context=context, output=min(endpoint.output, context // 4))
    chosen = target(editor, endpoint, config)
    plan = writing.plan_undo(chosen) if undo else writing.plan_entry(chosen)
    if dry_run:
        typer.echo(plan.diff() or f"{plan.file} has the entry already", nl=not plan.changes)
        return
    if not plan.changes:
        typer.echo(f"{plan.file} has the entry already")
    else:
        backup = writing.write(chosen, plan, undo=undo)
        typer.echo(f"{plan.file} {'is without the entry' if undo else 'has the entry'}"
                   + (f"; before: {backup}" if backup else ""))
    if undo:
        return
    if check:
        if chosen.speaks == "acp":
            typer.echo(f"checked: {checking.check_agent(endpoint)}")
        typer.echo(f"checked: {checking.check_chat(endpoint)}")
    typer.echo(chosen.then)
