"""`vivace telemetry`: what has become of the agent's changes, on this machine and nowhere else."""

from __future__ import annotations

from typing import Annotated

import typer


def telemetry(
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Delete all that was noted.")] = False,
) -> None:
    """Look at taken changes once more, and print how many were taken and how much of them is still there."""
    import json
    from pathlib import Path

    from vivace.harness.policy.config import config_path, settings
    from vivace.harness.telemetry import store

    if forget:
        store.forget()
        typer.echo("forgotten")
        return
    enabled = settings(Path.cwd()).telemetry
    if enabled:
        store.measure()
    found = store.summary()
    if as_json:
        typer.echo(json.dumps(found))
        return
    if not enabled:
        typer.echo(f"nothing is noted; `enabled = true` below [telemetry] in {config_path()} changes that", err=True)
    typer.echo(f"{found['taken']} hunks taken, {found['left']} left; {found['turns']} requests, "
               f"{found['seconds']:.0f} s, {found['input_tokens']:,} tokens read, {found['output_tokens']:,} generated")
    for moment, row in found["survival"].items():
        when = "at commit" if moment == store.COMMIT else f"after {moment} s"
        typer.echo(f"{when:>12}: 4-gram {row['four_gram']:.2f}, no-revert {row['no_revert']:.2f} ({row['n']} files)")
