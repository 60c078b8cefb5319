"""`vivace serve`."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from vivace.core.errors import BadInput

if TYPE_CHECKING:
    from vivace.serve.ask import Target


def serve(
    checkpoints: Annotated[list[str], typer.Argument(
        help="Checkpoint folders, or NAME=URL@MODEL for a model behind another endpoint; the cheapest first.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    api_key: Annotated[list[str] | None, typer.Option(
        help="A key that clients must send; repeat for more. Also VIVACE_SERVE_KEYS, separated by commas.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of a single model; default: its folder's.")] = None,
    rate: Annotated[float, typer.Option(help="Requests a minute of each key; 0: any number.")] = 0,
    quota: Annotated[int, typer.Option(help="Tokens a day (UTC), read and written, of each key; 0: any number.")] = 0,
    price: Annotated[list[str] | None, typer.Option(
        help="NAME=IN/CACHED/OUT in dollars per million tokens, for the cost in metrics and log.")] = None,
    max_slots: Annotated[int, typer.Option(help="Answers computed at a time.")] = 16,
    cache_mib: Annotated[float | None, typer.Option(
        help="Memory for keys and values; default: room for all of these, at most half the machine's.")] = None,
    max_len: Annotated[int | None, typer.Option(help="Context in tokens; default: the model's.")] = None,
    threads: Annotated[int | None, typer.Option(help="Computing threads.")] = None,
    weights: Annotated[str | None, typer.Option(
        help="Keep weights as fp32, bf16 (nothing lost of a bf16 checkpoint) or int8 (quickest).")] = None,
    speculate: Annotated[bool, typer.Option("--speculate/--no-speculate", help="Guess what repeats.")] = True,
    grammar: Annotated[bool, typer.Option("--grammar/--no-grammar", help="Hold calls to the declared tools.")] = True,
    router: Annotated[Path | None, typer.Option(help="Calibrated weights for `auto`.")] = None,
    cors: Annotated[list[str] | None, typer.Option(help="An origin whose pages may ask.")] = None,
    max_body_mib: Annotated[float, typer.Option(help="Largest request.")] = 16,
    timeout_s: Annotated[float, typer.Option(help="Longest answer, in seconds.")] = 600,
    drain_s: Annotated[float, typer.Option(help="Seconds for answers in work when the server is told to end.")] = 30,
    backend: Annotated[str, typer.Option(help="native, vllm or sglang.")] = "native",
) -> None:
    """Serve models: OpenAI, Anthropic and Ollama APIs, a chat page and a status page."""
    from vivace.commands.choosing import as_labelled_prices
    from vivace.serve.app import create_app
    from vivace.serve.gateway import Gateway
    from vivace.serve.limits import Keys
    from vivace.serve.router import Router
    from vivace.serve.server import Server, log_to_stderr

    if backend not in ("native", "vllm", "sglang"):
        raise BadInput(f"no backend {backend!r}; choose native, vllm or sglang")
    if name and len(checkpoints) > 1:
        raise BadInput("--name is for a single model; several are named by their folders")
    keys = [*(api_key or []), *filter(None, os.environ.get("VIVACE_SERVE_KEYS", "").split(","))]
    routing = Router.load(router) if router else None
    _listen(host, port)
    with ExitStack() as stack:
        targets: dict[str, Target] = {}
        for text in checkpoints:
            if "://" in text:
                target = remote(text)
            elif backend != "native":
                kind = cast(Literal["vllm", "sglang"], backend)
                target = _engine(stack, kind, Path(text), name or Path(text).name, max_len)
            else:
                target = native(Path(text), name, max_slots=max_slots, max_len=max_len, threads=threads,
                                weights=weights, speculate=speculate, constrain=grammar,
                                cache_mib=cache_mib)  # fmt: skip
            if target.name in targets:
                raise BadInput(f"two models are named {target.name}; rename a folder")
            targets[target.name] = target
        prices = dict(as_labelled_prices(text) for text in price or ())
        if unknown := sorted(prices.keys() - targets.keys()):
            raise BadInput(f"--price names {unknown[0]}, which is not served; there are {', '.join(targets)}")
        gate = Gateway(targets, router=routing, timeout_s=timeout_s, prices=prices)
        app = create_app(gate, Keys(keys, rate, quota), max_body=int(max_body_mib * 2**20), origins=cors or ())
        log_to_stderr()
        typer.echo(f"serving {', '.join(gate.names)} at http://{host}:{port}  (/v1, /api, /chat, /status, /metrics)")
        if host not in ("127.0.0.1", "localhost", "::1") and not keys:
            typer.echo("warning: anybody who can reach this address may use it; give --api-key", err=True)
        Server(app, gate, host, port, drain_s).run()


def native(
    folder: Path, name: str | None = None, *, max_slots: int = 16, max_len: int | None = None,
    threads: int | None = None, weights: str | None = None, speculate: bool = True, constrain: bool = True,
    cache_mib: float | None = None,
) -> Target:
    """A checkpoint of this machine."""
    from vivace.engine.client import load_client
    from vivace.serve.native import NativeTarget

    client = load_client(folder, name=name, max_slots=max_slots, max_len=max_len, threads=threads,
                         weights=weights, speculate=speculate, cache_mib=cache_mib)  # fmt: skip
    return NativeTarget(client.name, client.engine, client.codec, constrain=constrain)


def remote(text: str) -> Target:
    """NAME=URL@MODEL; the key is read from VIVACE_REMOTE_KEY."""
    from vivace.serve.remote import RemoteTarget

    name, _, rest = text.partition("=")
    url, _, model = rest.rpartition("@")
    if not (name and url and model) or "://" in name:
        raise BadInput(f"{text} is not NAME=URL@MODEL, such as big=http://localhost:9000/v1@some-model")
    return RemoteTarget(name, url, model, api_key=os.environ.get("VIVACE_REMOTE_KEY", ""))


def _engine(stack: ExitStack, kind: Literal["vllm", "sglang"], folder: Path, name: str, max_len: int | None) -> Target:
    from vivace.core.files import read_json
    from vivace.serve import engines
    from vivace.serve.engine_target import EngineTarget
    from vivace.text.chat import Renderer
    from vivace.text.tokenizer import Tokenizer

    engines.require_installed(kind)
    renderer = Renderer(Tokenizer.load(folder))
    config = read_json(folder / "config.json", "give a folder made by `vivace model export`")
    longest = config["max_position_embeddings"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = engines.start(engines.command(kind, folder, port, name=name, max_len=max_len), port)
    stack.callback(engines.stop, process)
    return EngineTarget(name, kind, f"http://127.0.0.1:{port}", renderer, min(max_len or longest, longest))


def _listen(host: str, port: int) -> None:
    """Say so plainly when the port is taken."""
    if not 0 <= port < 65_536:
        raise BadInput(f"--port is {port}; use 0 to 65535")
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        raise BadInput(f"cannot listen on {host}:{port} ({error.strerror or error}); choose another --port") from None
