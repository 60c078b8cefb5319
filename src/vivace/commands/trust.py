"""`vivace trust`: whether a folder's own settings and code are believed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def trust(
    folder: Annotated[Path, typer.Argument(help="The root of a checkout.")] = Path("."),
    revoke: Annotated[bool, typer.Option("--revoke", help="Trust it no more.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Only say how it stands.")] = False,
) -> None:
    """Trust a folder: its .vivace/config.toml counts (as it is now), and --sandbox full is allowed there."""
    from vivace.harness.policy import config

    theirs = config.repo_config(folder)
    if show:
        typer.echo(f"{folder.resolve()} is {'' if config.is_trusted(folder) else 'not '}trusted")
    elif revoke:
        typer.echo("trusted no more" if config.distrust(folder) else "it was not trusted")
    else:
        config.trust(folder)
        typer.echo(f"{folder.resolve()} is trusted" + (", with these settings:" if theirs.exists() else ""))
        if theirs.exists():
            typer.echo(theirs.read_text().rstrip())
