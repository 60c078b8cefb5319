"""One call from the manifest to a corpus folder that pretraining reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_text, digest, read_jsonl, require_space, sha256_file, write_json
from vivace.core.progress import progress
from vivace.data.config import CorpusConfig, PackagePin, load_manifest
from vivace.data.documents import Document
from vivace.data.fetch import fetch_wheels
from vivace.data.filters import parse
from vivace.data.heldout import HeldOut, overlap
from vivace.data.selection import Tally, check_licence, read_all, scrub_all, select
from vivace.data.shards import write_train, write_validation
from vivace.text.tokenizer import Tokenizer, train_tokenizer

SPACE = 400_000_000


class SplitReport(BaseModel):
    """Size of one shard. `bytes` are UTF-8 bytes of the documents' text."""

    documents: int
    bytes: int
    tokens: int
    packages: int


class CorpusReport(BaseModel):
    """What a corpus folder holds and how it came about; written as meta.json."""

    config_digest: str
    manifest_digest: str
    vocab_size: int
    train: SplitReport
    val: SplitReport
    indomain: SplitReport
    files_seen: int
    bytes_seen: int
    dropped_files: dict[str, int]
    dropped_bytes: dict[str, int]
    scrubbed: dict[str, int]
    heldout_overlap: float
    package_bytes: dict[str, int]
    outputs: dict[str, str]

    @property
    def bytes_per_token(self) -> float:
        """Of the held-out text: how well the tokenizer compresses code that it has not seen."""
        return self.val.bytes / max(self.val.tokens, 1)


def build_corpus(config: CorpusConfig, out_dir: Path, tokenizer: Tokenizer | None = None) -> CorpusReport:
    """Fetch, filter and tokenise; deterministic in (config, manifest, tokenizer).

    Writes into `out_dir`: documents.jsonl, tokenizer.json, train.bin; val.bin and val.jsonl (evaluation packages, never
    trained on); indomain.bin and indomain.jsonl (packages of role `valid`); meta.json, last. Shards: see `shards`.
    Raises BadInput for a bad manifest, licence or digest, InfraError where the index cannot be reached.
    """
    pins = load_manifest(config.manifest)
    require_space(out_dir, SPACE)
    (out_dir / "meta.json").unlink(missing_ok=True)
    wheels = fetch_wheels(pins)
    for pin in pins:
        check_licence(wheels[pin.name], pin)
    tally = Tally()
    held, val = held_out([pin for pin in pins if pin.role == "eval"], wheels)
    kept = select([pin for pin in pins if pin.role != "eval"], wheels, held, config, tally)
    valid_names = {pin.name for pin in pins if pin.role == "valid"}
    train = [doc for doc in kept if doc.package not in valid_names]
    indomain = [doc for doc in kept if doc.package in valid_names]
    if not train:
        raise BadInput("no document survived the filters; loosen [filters] or add packages")
    if tokenizer is None:
        tokenizer = train_tokenizer((doc.text for doc in progress(train, "train tokenizer")), config.vocab_size)
    tokenizer.save(out_dir)
    _write_jsonl(out_dir / "documents.jsonl", [vars(doc) for doc in train])
    tokens = write_train(out_dir / "train.bin", train, tokenizer, config)
    splits = {"train": _split(train, tokens)}
    for name, documents in (("val", val), ("indomain", indomain)):
        rows = write_validation(out_dir / f"{name}.bin", documents, tokenizer)
        _write_jsonl(out_dir / f"{name}.jsonl", rows)
        splits[name] = _split(documents, sum(int(row["tokens"]) for row in rows))
    shared = overlap([doc.text for doc in val], (doc.text for doc in train))
    report = _report(config, pins, tally, splits, train, out_dir, tokenizer, shared)
    write_json(out_dir / "meta.json", report.model_dump())
    return report


def held_out(pins: Sequence[PackagePin], wheels: Mapping[str, Path]) -> tuple[HeldOut, list[Document]]:
    """Hashes of everything in the evaluation packages, and those of their documents that parse, scrubbed alike."""
    documents = [doc for pin in pins for doc in read_all(wheels[pin.name], pin)]
    val = [doc for doc in documents if len(doc.text) > 1 and parse(doc.text) is not None]
    return HeldOut.of(documents), scrub_all(val, Tally())


def read_documents(path: Path) -> list[Document]:
    """Training documents of a corpus: `path` is its folder or its documents.jsonl."""
    file = path / "documents.jsonl" if path.is_dir() else path
    if not file.exists():
        raise BadInput(f"no corpus at {path}; build one with build_corpus (stage `corpus` of a recipe)")
    return [Document(**row) for row in read_jsonl(file)]


def _write_jsonl(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    atomic_write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _split(documents: Sequence[Document], tokens: int) -> SplitReport:
    return SplitReport(
        documents=len(documents), bytes=sum(doc.nbytes for doc in documents), tokens=tokens,
        packages=len({doc.package for doc in documents}),
    )


def _report(
    config: CorpusConfig, pins: Sequence[PackagePin], tally: Tally, splits: Mapping[str, SplitReport],
    train: Sequence[Document], out_dir: Path, tokenizer: Tokenizer, shared: float,
) -> CorpusReport:
    sizes: Counter[str] = Counter()
    for doc in train:
        sizes[doc.package] += doc.nbytes
    names = ("documents.jsonl", "tokenizer.json", "train.bin", "val.bin", "val.jsonl", "indomain.bin", "indomain.jsonl")
    return CorpusReport(
        config_digest=digest(config.model_dump(mode="json", exclude={"manifest"})),
        manifest_digest=digest([pin.model_dump() for pin in pins]),
        vocab_size=tokenizer.vocab_size, train=splits["train"], val=splits["val"], indomain=splits["indomain"],
        files_seen=tally.seen, bytes_seen=tally.seen_bytes,
        dropped_files=dict(tally.files.most_common()), dropped_bytes=dict(tally.bytes.most_common()),
        scrubbed=dict(tally.scrubbed.most_common()), heldout_overlap=round(shared, 5),
        package_bytes=dict(sorted(sizes.items())),
        outputs={name: sha256_file(out_dir / name) for name in names},
    )
