"""The compiled step beside llama.cpp and transformers: the same random Qwen3-MoE weights (179M), the same tokens.

All run on one thread in one process, and what is counted is processor time, so that other work on the machine matters
less (it still takes cache and memory bandwidth). Runs alternate; a ratio is the median over rounds of the pair's ratio.
Decoding is at 128 tokens of context; nothing is sampled. Before anything is timed, logits are compared.

    pip install llama-cpp-python gguf        (or LLAMA_CPP_LIB_PATH=folder of a built libllama.so)
    python benchmarks/engine_peers.py [--repeats 3] [--prefill 512] [--peers q8_0,q4_0,bf16,transformers]
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gguf_export import LlamaCpp, random_model, write_gguf
from rows import Row, finish, parser, row
from vivace.engine.cache import PagedCache
from vivace.engine.cpu_runner import CpuRunner, library
from vivace.engine.packing import FORMATS, WeightFormat
from vivace.engine.runner import Piece
from vivace.model import Decoder, save_checkpoint

CONTEXT, STEPS, SLOTS = 128, 10, 16
STREAMS = (1, 8, 16)
ALIKE = (("ours bf16", "llama.cpp bf16"), ("ours fp32", "transformers fp32"))  # compared beside int8 with everything


class Ours:
    def __init__(self, model: Decoder, kind: WeightFormat, length: int) -> None:
        compiled = library()
        if isinstance(compiled, str):
            raise SystemExit(compiled)
        cache = PagedCache(model.config, SLOTS, length)
        self._runner = CpuRunner(model.config, model.state_dict(), cache, compiled, 1, kind)

    def read(self, prompts: list[list[int]]) -> np.ndarray:
        """Begin anew with these; logits after the last one."""
        for slot, ids in enumerate(prompts):
            logits = self._runner.step([Piece(slot, 0, ids)], [0])
        return logits.numpy()

    def step(self, position: int, ids: list[int]) -> np.ndarray:
        """One token more of each: (streams, V)."""
        pieces = [Piece(slot, position, [one]) for slot, one in enumerate(ids)]
        return self._runner.step(pieces, range(len(pieces))).numpy()


class Llama:
    def __init__(self, model: Decoder, kind: str, length: int, folder: Path) -> None:
        path = folder / f"{kind}.gguf"
        write_gguf(model, path, kind)
        self._peer = LlamaCpp(path, model.config.vocab_size, slots=SLOTS, context=length, threads=1)

    def read(self, prompts: list[list[int]]) -> np.ndarray:
        self._peer.clear()
        for slot, ids in enumerate(prompts):
            for start in range(0, len(ids), 512):
                logits = self._peer.step([(slot, start, ids[start : start + 512])])
        return logits

    def step(self, position: int, ids: list[int]) -> np.ndarray:
        return self._peer.step([(slot, position, [one]) for slot, one in enumerate(ids)])


class Transformers:
    def __init__(self, model: Decoder, folder: Path) -> None:
        from transformers import AutoModelForCausalLM

        save_checkpoint(folder / "hf", model)
        self._peer = AutoModelForCausalLM.from_pretrained(folder / "hf", dtype=torch.float32)

    def read(self, prompts: list[list[int]]) -> np.ndarray:
        from transformers import DynamicCache

        self._held = DynamicCache()
        return self._run(prompts)

    def step(self, position: int, ids: list[int]) -> np.ndarray:
        return self._run([[one] for one in ids])

    def _run(self, ids: list[list[int]]) -> np.ndarray:
        out = self._peer(torch.tensor(ids), past_key_values=self._held, logits_to_keep=1)
        return out.logits[:, -1].numpy()


Peer = Ours | Llama | Transformers


def decode_rate(peer: Peer, streams: int, vocab: int) -> float:
    """Tokens a second of processor time, all streams together."""
    rng = random.Random(streams)
    peer.read([[rng.randrange(vocab) for _ in range(CONTEXT)] for _ in range(streams)])
    seconds = []
    for at in range(STEPS * (4 if streams == 1 else 1)):
        start = time.process_time()
        peer.step(CONTEXT + at, [rng.randrange(vocab) for _ in range(streams)])
        seconds.append(time.process_time() - start)
    return streams / statistics.median(seconds)


def prefill_rate(peer: Peer, length: int, vocab: int) -> float:
    rng = random.Random(length)
    ids = [rng.randrange(vocab) for _ in range(length)]
    start = time.process_time()
    peer.read([ids])
    return length / (time.process_time() - start)


def agree(peers: dict[str, Peer], vocab: int) -> None:
    """Correlation of logits with those of ours in fp32: the engines compute the same model."""
    ids = [random.Random(1).randrange(vocab) for _ in range(40)]
    expected = peers["ours fp32"].read([ids])[0]
    for name, peer in peers.items():
        share = float(np.corrcoef(expected, peer.read([ids])[0])[0, 1])
        print(f"{name}: correlation of logits with fp32 {share:.5f}")
        if share < 0.97:
            raise SystemExit(f"{name} computes something else")


@torch.inference_mode()
def measure(wanted: list[str], repeats: int, prefill: int) -> list[Row]:
    torch.set_num_threads(1)
    model = random_model()
    vocab, length = model.config.vocab_size, max(prefill, CONTEXT + 4 * STEPS) + 8
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        peers: dict[str, Peer] = {f"ours {kind}": Ours(model, kind, length) for kind in FORMATS}
        place = Path(folder)
        for name in wanted:
            if name == "transformers":
                peers["transformers fp32"] = Transformers(model, place)
            else:
                peers[f"llama.cpp {name}"] = Llama(model, name, length, place)
        pairs = [("ours int8", name) for name in peers if name != "ours int8"]
        pairs += [pair for pair in ALIKE if pair[1] in peers]
        agree(peers, vocab)
        tests: list[tuple[str, Callable[[Peer], float]]] = [
            (f"decode, {n} stream{'s' * (n > 1)}", partial(decode_rate, streams=n, vocab=vocab)) for n in STREAMS]
        tests.append((f"prefill, {prefill} tokens", partial(prefill_rate, length=prefill, vocab=vocab)))
        for what, test in tests:
            rounds = [{name: test(peer) for name, peer in peers.items()} for _ in range(repeats)]
            for kind, name in pairs:
                ratio = statistics.median(one[kind] / one[name] for one in rounds)
                medians = [statistics.median(one[who] for one in rounds) for who in (kind, name)]
                rows.append(row(f"{what}, {kind.removeprefix('ours ')}", *medians, name, "tokens/s", ratio))
            print(what, {name: sorted(round(one[name]) for one in rounds) for name in peers}, flush=True)
    return rows


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--repeats", type=int, default=3)
    options_of.add_argument("--prefill", type=int, default=512)
    options_of.add_argument("--peers", default="q8_0,q4_0,bf16,transformers")
    options = options_of.parse_args()
    finish(measure(options.peers.split(","), options.repeats, options.prefill), options.json)


if __name__ == "__main__":
    main()
