"""The base model's journey: corpus, pretrain, midtrain, release."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_bytes, read_jsonl, sha256_file
from vivace.core.progress import Progress, progress
from vivace.data.config import CorpusConfig
from vivace.data.copying import copy_documents
from vivace.data.corpus import build_corpus, read_documents
from vivace.data.documents import Document
from vivace.data.proofreading import proof_documents
from vivace.data.repair import RepairConfig, repair_documents
from vivace.model.checkpoint import load_checkpoint, save_checkpoint
from vivace.model.count import count_parameters
from vivace.model.decoder import Decoder
from vivace.model.presets import preset
from vivace.recipe.basecard import base_card
from vivace.recipe.config import StageConfig
from vivace.recipe.lineage import FILE_NAME as LINEAGE_FILE
from vivace.recipe.lineage import extend, read_lineage
from vivace.recipe.runner import Context, Facts
from vivace.text.chat import Renderer
from vivace.text.tokenizer import FILE_NAME as TOKENIZER_FILE
from vivace.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from vivace.train.batches import DocumentSource, Row, Source, StreamSource
from vivace.train.config import TrainConfig
from vivace.train.extend import Extension, SteppedSource, lengthen
from vivace.train.loop import mean_loss, train
from vivace.train.mix import MixedSource
from vivace.train.parallel.checkpoint import save_model
from vivace.train.parallel.mesh import Mesh, MeshConfig, open_mesh
from vivace.train.plan import Cluster

COPY_DRILLS = 16_384  # some three million tokens; beyond that they come again
NATS_PER_BIT = 0.6931471805599453


class CorpusStage(StageConfig):
    """Fetch, filter and tokenise the pinned packages; trains the tokenizer."""

    corpus: CorpusConfig = CorpusConfig()


class PretrainStage(StageConfig):
    """A fresh model of a preset on the token stream."""

    preset: str = "nano"
    seq_len: int = 512
    batch_tokens: int = 8192
    mesh: MeshConfig | None = Field(None, description="How processes share the work; none: one, or all data ranks.")
    plan: list[Cluster] = Field(default_factory=list, description="Machines for which --dry-run prints a plan.")
    train: TrainConfig


class MidtrainStage(StageConfig):
    """Goes on from an earlier stage with longer windows of the stream and repair documents."""

    init: str = "pretrain"
    seq_len: int = 1024
    batch_tokens: int = 8192
    repair_share: float = Field(0.75, ge=0, le=1)
    proof_share: float = Field(0.0, ge=0, le=1, description="Proofreading drills.")
    copy_share: float = Field(0.0, ge=0, le=1, description="Copying drills; what is left is the token stream.")
    repair_tokens: int = Field(8_000_000, description="How much repair text to make at most.")
    max_document: int = 700
    repair: RepairConfig = RepairConfig()
    extend: list[Extension] = Field(default_factory=list, description="Longer windows of the stream, in steps; the "
                                    "last step lasts to the end. They replace seq_len.")
    mesh: MeshConfig | None = Field(None, description="As in pretrain.")
    plan: list[Cluster] = Field(default_factory=list, description="As in pretrain.")
    train: TrainConfig

    def mixture(self) -> str:
        """In words, for the card."""
        left = 1 - self.repair_share - self.proof_share - self.copy_share
        parts = {"repairs": self.repair_share, "proofreading drills": self.proof_share,
                 "copying drills": self.copy_share, "token stream": left}
        return ", ".join(f"{share:.0%} {name}" for name, share in parts.items() if share > 1e-9)

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.repair_share + self.proof_share + self.copy_share > 1:
            raise ValueError("repair_share, proof_share and copy_share add up to more than 1; lower one of them")
        return self


class ReleaseStage(StageConfig):
    """Writes the checkpoint with tokenizer and card to where it is shipped from."""

    init: str = "midtrain"
    to: Path


def corpus(config: CorpusStage, context: Context) -> Facts:
    settings = config.corpus.model_copy(update={"manifest": context.path(config.corpus.manifest)})
    report = build_corpus(settings, context.out)
    shards = context.out / "stream"
    shards.mkdir(exist_ok=True)
    link = shards / "train.bin"
    link.unlink(missing_ok=True)
    link.symlink_to("../train.bin")
    return {"packages": report.train.packages, "tokens": report.train.tokens, "bytes": report.train.bytes,
            "bytes_per_token": round(report.bytes_per_token, 3)}


def pretrain(config: PretrainStage, context: Context) -> Facts:
    folder = context.of_stage("corpus")
    tokenizer = Tokenizer.load(folder)
    model = Decoder(preset(config.preset, vocab_size=tokenizer.vocab_size), seed=context.seed)
    source = StreamSource(folder / "stream", config.seq_len, config.batch_tokens, context.seed)
    with open_mesh(config.mesh) as mesh:
        return _train(model, source, config.train, context, held_out_loss(folder), mesh)


def midtrain(config: MidtrainStage, context: Context) -> Facts:
    folder = context.of_stage("corpus")
    base = context.model(config.init)
    model, _ = load_checkpoint(base)
    if sha256_file(base / TOKENIZER_FILE) != sha256_file(folder / TOKENIZER_FILE):
        raise BadInput(f"{base} has another tokenizer than the corpus: midtrain goes on from models of this corpus; "
                       "tune an imported model with finetune or rl")  # fmt: skip
    lengthen(model, max((step.seq_len for step in config.extend), default=config.seq_len))
    plain, repairs = held_out_loss(folder), held_back_repairs(config, folder)
    with open_mesh(config.mesh) as mesh:
        if mesh is not None and config.repair_share > 0:
            mesh.first_then_all(lambda: _keep_repairs(config, folder, context))
        facts = _train(model, _mixed(config, folder, context), config.train, context,
                       lambda now: {**plain(now), **repairs(now)}, mesh)
    return {**facts, "note": config.mixture()}


def _mixed(config: MidtrainStage, folder: Path, context: Context) -> MixedSource:
    members: list[tuple[Source, float]] = []
    if config.repair_share > 0:
        documents = _repair_tokens(config, folder, context)
        source = DocumentSource(documents, 1, max_len=config.max_document, seed=context.seed)
        members.append((source, config.repair_share))
    if config.proof_share > 0:
        shown = [document for document in read_documents(folder) if not document.is_test]
        random.Random(context.seed).shuffle(shown)
        renderer = Renderer(Tokenizer.load(folder))
        proofs = list(proof_documents(progress(shown, "proofreading drills"), renderer, config.repair))
        source = DocumentSource(proofs, 1, max_len=config.max_document, seed=context.seed)
        members.append((source, config.proof_share))
    if config.copy_share > 0:
        tokenizer = Tokenizer.load(folder)
        ids = range(len(SPECIAL_TOKENS), tokenizer.vocab_size)
        drills = list(copy_documents(COPY_DRILLS, ids, tokenizer.special["<|bos|>"], context.seed))
        members.append((DocumentSource(drills, 1, max_len=config.max_document, seed=context.seed), config.copy_share))
    left = 1 - config.repair_share - config.proof_share - config.copy_share
    if left > 1e-9:
        members.append((_stream(config, folder, context.seed + 1), left))
    return MixedSource(members, config.batch_tokens)


def _stream(config: MidtrainStage, folder: Path, seed: int) -> Source:
    """One window at a time."""
    if not config.extend:
        return StreamSource(folder / "stream", config.seq_len, config.seq_len, seed)
    steps = [(StreamSource(folder / "stream", step.seq_len, step.seq_len, seed), step.tokens) for step in config.extend]
    return SteppedSource(steps)


def release(config: ReleaseStage, context: Context) -> Facts:
    """Copy the model out, with its card and loss curve."""
    folder = context.of_stage("corpus")
    model, shape = load_checkpoint(context.model(config.init))
    measures = held_out_bits(model, folder)
    lineage = extend(read_lineage(_origin(config.init, context)), context.run, measures)
    card = base_card(context.recipe.name, shape, json.loads((folder / "meta.json").read_text()), lineage)
    save_checkpoint(context.path(config.to), model, {
        TOKENIZER_FILE: folder / TOKENIZER_FILE, "README.md": card,
        LINEAGE_FILE: lineage.model_dump_json(indent=1) + "\n"})  # fmt: skip
    return {"parameters": count_parameters(shape).total, "active": count_parameters(shape).active, **measures}


def _origin(stage: str, context: Context) -> Path:
    """The checkpoint from outside the run that a stage's model goes back to; some folder without one if none does."""
    config = context.recipe.stages.get(stage)
    if config is None:
        return context.path(stage)
    before = getattr(config, "init", None)
    return _origin(before, context) if before else context.out


def _train(
    model: Decoder, source: Source, settings: TrainConfig, context: Context, evaluate: Callable[[Decoder], Facts],
    mesh: Mesh | None,
) -> Facts:
    def log(row: dict[str, Any]) -> None:
        context.stage.log(**row)

    result = train(model, source, settings, context.out, log, evaluate=evaluate, description=context.stage.name,
                   mesh=mesh)
    tokenizer = context.of_stage("corpus") / TOKENIZER_FILE
    save_model(context.out / "model", model, mesh, {TOKENIZER_FILE: tokenizer})
    return {"steps": result.steps, "tokens": result.tokens, "loss": round(result.loss, 4),
            "tok_s": round(result.tokens / max(result.seconds, 1e-9), 1), **evaluate(model)}


def held_out_loss(folder: Path, windows: int = 48, length: int = 512) -> Callable[[Decoder], Facts]:
    """A cheap measure during training: loss on evenly spaced windows of the held-out packages, nats per token."""
    ids = np.fromfile(folder / "val.bin", dtype=np.uint16).astype(np.int64)
    starts = np.linspace(0, max(0, len(ids) - length - 1), windows).astype(int)
    rows = [Row(ids[s : s + length + 1], np.ones(min(length, len(ids) - s - 1), dtype=np.float32)) for s in starts]
    return lambda model: {"held_out_loss": round(mean_loss(model, rows), 4)}


def held_back_repairs(config: MidtrainStage, folder: Path, most: int = 96) -> Callable[[Decoder], Facts]:
    """Loss on what the assistant writes in repairs of the packages kept back to watch (not those of evaluation)."""
    settings = config.repair.model_copy(update={"per_function": 1, "context_weight": 0.0, "seed": 1})
    rows = read_jsonl(folder / "indomain.jsonl")
    texts = [Document(row["path"], row["package"], row["version"], "", row["text"]) for row in rows]
    made = repair_documents(texts, Renderer(Tokenizer.load(folder)), settings)
    fitting = [document for document in made if len(document[0]) <= config.max_document]
    chosen = fitting[:: max(1, len(fitting) // most)]
    held = [Row(np.asarray(ids), np.asarray(weights, dtype=np.float32)[1:]) for ids, weights in chosen]
    return lambda model: {"repair_loss": round(mean_loss(model, held), 4)} if held else {}


def held_out_bits(model: Decoder, folder: Path, window: int = 1024) -> dict[str, float]:
    """Bits per byte over every document of the held-out packages, windows of `window` tokens without overlap."""
    ids = np.fromfile(folder / "val.bin", dtype=np.uint16).astype(np.int64)
    documents = list(read_jsonl(folder / "val.jsonl"))
    rows = []
    with Progress("bits per byte", len(documents)) as bar:
        for document in documents:
            start, stop = document["offset"], document["offset"] + document["tokens"]
            for at in range(start, stop - 1, window):
                part = ids[at : min(at + window + 1, stop)]
                rows.append(Row(part, np.ones(len(part) - 1, dtype=np.float32)))
            bar.advance()
        nats = mean_loss(model, rows) * sum(len(row.weights) for row in rows)
    return {"bits_per_byte": round(nats / NATS_PER_BIT / sum(d["bytes"] for d in documents), 4)}


def _repair_tokens(
    config: MidtrainStage, folder: Path, context: Context
) -> Sequence[tuple[Sequence[int], Sequence[float]]]:
    """Repair documents, made once and kept beside the run's state."""
    with np.load(_keep_repairs(config, folder, context)) as held:
        ids, weights, ends = held["ids"], held["weights"].astype(np.float32), held["ends"]
    starts = [0, *ends[:-1].tolist()]
    return [(ids[a:b], weights[a:b]) for a, b in zip(starts, ends.tolist(), strict=True)]


def _keep_repairs(config: MidtrainStage, folder: Path, context: Context) -> Path:
    path = context.out / "state" / "repair.npz"
    if not path.exists():
        ids, weights, ends = _make_repairs(config, folder, context.seed)
        buffer = io.BytesIO()
        np.savez(buffer, ids=ids, weights=weights, ends=ends)
        atomic_write_bytes(path, buffer.getvalue())
    return path


def _make_repairs(config: MidtrainStage, folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    renderer = Renderer(Tokenizer.load(folder))
    documents = [document for document in read_documents(folder / "documents.jsonl") if not document.is_test]
    random.Random(seed).shuffle(documents)
    ids: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    total = 0
    with Progress("repair documents", config.repair_tokens) as bar:
        for one, weight in repair_documents(documents, renderer, config.repair):
            if len(one) > config.max_document:
                continue
            ids.append(np.asarray(one, dtype=np.uint16))
            weights.append(np.asarray(weight, dtype=np.float16))
            total += len(one)
            bar.advance(len(one))
            if total >= config.repair_tokens:
                break
    ends = np.cumsum([len(one) for one in ids])
    return np.concatenate(ids), np.concatenate(weights), ends
