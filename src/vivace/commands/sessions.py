"""`vivace sessions`: what was said and done, to look at, fork and learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Sessions of `vivace agent`: list, show, fork, export.", no_args_is_help=False,
                  invoke_without_command=True)
NAME = Annotated[str, typer.Argument(help="Name of a session, or the beginning of it.")]


@app.callback()
def listed(context: typer.Context) -> None:
    """List the sessions, newest first."""
    if context.invoked_subcommand:
        return
    from vivace.harness.sessions.log import first_request, sessions
    from vivace.harness.tools.text import shorten

    found = False
    for name, head in sessions():
        found = True
        typer.echo(f"{name}  {Path(head['repo']).name}  {shorten(first_request(name), 50)}")
    if not found:
        typer.echo("no sessions yet; `vivace agent` begins one", err=True)


@app.command()
def show(name: NAME) -> None:
    """Print the conversation, and the changes that are in no checkout yet as a patch."""
    from vivace.commands.live import describe
    from vivace.harness.hunks import patch_of
    from vivace.harness.sessions.session import Session

    with Session.resume(name) as session:
        for message in session.state.messages[1:]:
            if message.role == "user":
                typer.echo(f"> {message.content}\n")
            elif message.role == "assistant":
                if message.content:
                    typer.echo(f"{message.content}\n")
                for call in message.tool_calls:
                    typer.echo(f"- {describe(call)}")
        if patch := patch_of(session.pending()):
            typer.echo(f"\npending:\n{patch}")


@app.command()
def fork(name: NAME) -> None:
    """Make a session of its own that begins where this one is; prints its name."""
    from vivace.harness.sessions.session import Session

    with Session.resume(name) as session, session.fork() as new:
        typer.echo(new.log.name)


@app.command()
def export(
    name: NAME,
    out: Annotated[Path, typer.Option(help="File to append the sample to, in the form of attempts.jsonl.")],
    model: Annotated[Path | None, typer.Option(help="Checkpoint folder whose tokenizer the sample is for; not needed "
                                               "for a session held with a native model.")] = None,
) -> None:
    """Append the conversation to a file as a sample to train on."""
    from vivace.core.files import append_jsonl
    from vivace.harness.sessions.export import training_attempt
    from vivace.harness.sessions.session import Session
    from vivace.text.chat import Renderer
    from vivace.text.tokenizer import Tokenizer

    renderer = Renderer(Tokenizer.load(model)) if model else None
    with Session.resume(name) as session:
        attempt = training_attempt(session, renderer)
    append_jsonl(out, attempt.model_dump(), durable=True)
    segment = attempt.trajectory.segments[0]
    typer.echo(f"{out}: {len(segment.ids):,} tokens, {sum(segment.mask):,} of them the model's; {attempt.grade.detail}")
