"""What bf16 and int8 weights cost in quality: bits per byte on held-out text, beside fp32, and where the likeliest
token is another one.

The text is what `vivace run` keeps back as val.bin and val.jsonl in its corpus stage (documents of packages that no
stage trains on), in windows of 1024 tokens without overlap. "differs" counts tokens whose likeliest successor is not
fp32's; the divergence is that of the whole distribution, in nats a token.

    python benchmarks/weight_formats.py --corpus runs/base/corpus [--documents 20] [--json rows.json]
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from rows import Row, finish, parser, row
from vivace.core.files import read_jsonl
from vivace.engine.cache import PagedCache
from vivace.engine.cpu_runner import CpuRunner, library
from vivace.engine.packing import FORMATS
from vivace.engine.runner import Piece
from vivace.model.checkpoint import load_checkpoint

MODEL = Path(__file__).parents[1] / "models" / "nano-base"
WINDOW = 1024
CHUNK = 128  # tokens of one step: logits of more would be large


class Sums(NamedTuple):
    nats: float
    divergence: float
    differs: int
    tokens: int


def read(runner: CpuRunner, ids: list[int]) -> torch.Tensor:
    """Log probabilities after each token but the last: (tokens - 1, V)."""
    outs = []
    for start in range(0, len(ids) - 1, CHUNK):
        part = ids[start : min(start + CHUNK, len(ids) - 1)]
        outs.append(runner.step([Piece(0, start, part)], [0], [len(part)]).log_softmax(-1))
    return torch.cat(outs)


def compare(runners: dict[str, CpuRunner], windows: list[list[int]]) -> dict[str, Sums]:
    sums = {kind: Sums(0.0, 0.0, 0, 0) for kind in runners}
    for ids in windows:
        following = torch.tensor(ids[1:])[:, None]
        plain = read(runners["fp32"], ids)
        for kind, runner in runners.items():
            logp = plain if kind == "fp32" else read(runner, ids)
            old = sums[kind]
            sums[kind] = Sums(
                old.nats - float(logp.gather(1, following).sum()),
                old.divergence + float((plain.exp() * (plain - logp)).sum()),
                old.differs + int((plain.argmax(-1) != logp.argmax(-1)).sum()), old.tokens + len(logp))  # fmt: skip
    return sums


@torch.inference_mode()
def measure(corpus: Path, checkpoint: Path, count: int) -> list[Row]:
    compiled = library()
    if isinstance(compiled, str):
        raise SystemExit(compiled)
    model, _ = load_checkpoint(checkpoint)
    state = model.state_dict()
    runners = {kind: CpuRunner(model.config, state, PagedCache(model.config, 1, WINDOW), compiled, 1, kind)
               for kind in FORMATS}  # fmt: skip
    ids = np.fromfile(corpus / "val.bin", dtype=np.uint16)
    documents = list(read_jsonl(corpus / "val.jsonl"))
    documents = documents[:: max(1, len(documents) // count)][:count]
    windows = [ids[at : min(at + WINDOW + 1, d["offset"] + d["tokens"])].tolist() for d in documents
               for at in range(d["offset"], d["offset"] + d["tokens"] - 1, WINDOW)]  # fmt: skip
    size = sum(document["bytes"] for document in documents)
    sums = compare(runners, windows)
    print(f"{checkpoint.name}, {len(documents)} held-out documents, {size:,} bytes, {sums['fp32'].tokens:,} tokens")
    rows = []
    for kind in FORMATS[1:]:
        mine, plain = sums[kind], sums["fp32"]
        bits = [s.nats / math.log(2) / size for s in (mine, plain)]
        print(f"{kind}: {bits[0]:.5f} bits per byte, fp32 {bits[1]:.5f}; divergence "
              f"{mine.divergence / mine.tokens:.2e} nats a token, likeliest token differs in "
              f"{mine.differs / mine.tokens:.3%}")  # fmt: skip
        rows.append(row(f"{kind}, bits per byte", *bits, "fp32", "bits", bits[0] / bits[1]))
        rows.append(row(f"{kind}, weights", runners[kind].weight_bytes / 2**20, runners["fp32"].weight_bytes / 2**20,
                        "fp32", "MiB"))  # fmt: skip
    return rows


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--corpus", type=Path, required=True, help="folder with val.bin and val.jsonl")
    options_of.add_argument("--model", type=Path, default=MODEL)
    options_of.add_argument("--documents", type=int, default=20)
    options = options_of.parse_args()
    finish(measure(options.corpus, options.model, options.documents), options.json)


if __name__ == "__main__":
    main()
