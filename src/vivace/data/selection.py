"""From wheels to kept documents: every file is read, judged and either kept or counted under a reason."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.core.progress import progress
from vivace.core.scrub import scrub
from vivace.data.config import CorpusConfig, FilterConfig, PackagePin
from vivace.data.dedup import near_duplicates
from vivace.data.documents import Document, clean, read_wheel
from vivace.data.filters import file_reason, parse, tree_reason
from vivace.data.functions import FunctionKeys, function_keys
from vivace.data.heldout import HeldOut, file_key
from vivace.data.licence import allowed, wheel_licence


@dataclass
class Tally:
    """Files and bytes dropped per reason, and replacements made by the scrubber."""

    seen: int = 0
    seen_bytes: int = 0
    files: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    scrubbed: Counter[str] = field(default_factory=Counter)

    def drop(self, reason: str, nbytes: int = 0) -> None:
        self.files[reason] += 1
        self.bytes[reason] += nbytes


def check_licence(wheel: Path, pin: PackagePin) -> None:
    """The wheel's own metadata must say the manifest's licence, and the allow-list must cover it."""
    said = wheel_licence(wheel)
    if said != pin.licence:
        raise BadInput(f"{wheel.name} says licence {said}, the manifest {pin.licence}; correct the manifest")
    if not allowed(said):
        raise BadInput(f"{wheel.name} is under {said}, which the allow-list does not cover; leave it out")


def read_all(wheel: Path, pin: PackagePin) -> list[Document]:
    """Cleaned documents of a wheel, unfiltered: what the held-out hashes and the validation sets are made of."""
    return [doc.with_text(clean(doc.text)) for doc in read_wheel(wheel, pin) if isinstance(doc, Document)]


def select(
    pins: Sequence[PackagePin], wheels: Mapping[str, Path], held: HeldOut, config: CorpusConfig, tally: Tally
) -> list[Document]:
    """Documents of `pins` that survive filters, decontamination, deduplication and the cap, by package and path."""
    seen_files: set[str] = set()
    seen_functions: set[str] = set()
    kept: list[Document] = []
    for pin in progress(pins, "filter packages"):
        documents: list[Document] = []
        for raw in read_wheel(wheels[pin.name], pin):
            tally.seen += 1
            if isinstance(raw, str):
                tally.drop(raw)
                continue
            tally.seen_bytes += raw.nbytes
            found = judge(raw, held, config.filters)
            if isinstance(found, str):
                tally.drop(found, raw.nbytes)
                continue
            document, keys = found
            reason = _repeated(document, keys, seen_files, seen_functions, config)
            if reason:
                tally.drop(reason, raw.nbytes)
                continue
            documents.append(document)
        kept += cap_package(documents, config, tally)
    return scrub_all(drop_near_duplicates(kept, config, tally), tally)


def judge(raw: Document, held: HeldOut, filters: FilterConfig) -> tuple[Document, list[FunctionKeys]] | str:
    """The cleaned document with its function keys, or the reason for which it is dropped."""
    text = clean(raw.text)
    reason = file_reason(raw.text, text, filters)
    if reason:
        return reason
    tree = parse(text)
    if tree is None:
        return "does not parse"
    reason = tree_reason(tree, text, filters)
    if reason:
        return reason
    keys = function_keys(tree)
    return held.reason(text, keys) or (raw.with_text(text), keys)


def _repeated(
    document: Document, keys: list[FunctionKeys], files: set[str], functions: set[str], config: CorpusConfig
) -> str | None:
    """Reason where the file, or most of its functions by size, was in an earlier file; else its keys are added."""
    key = file_key(document.text)
    if key in files:
        return "exact duplicate"
    sized = [k for k in keys if k.named]
    repeated = sum(k.nodes for k in sized if k.named in functions)
    if sized and repeated / sum(k.nodes for k in sized) >= config.max_seen_functions:
        return "functions seen before"
    files.add(key)
    functions.update(k.named for k in sized)
    return None


def cap_package(documents: Sequence[Document], config: CorpusConfig, tally: Tally) -> list[Document]:
    """A seeded choice of at most `max_package_bytes`, of which tests take at most `max_test_share`, in path order."""
    if not documents:
        return []
    order = list(documents)
    random.Random(f"{config.seed}:{order[0].package}").shuffle(order)
    kept: list[Document] = []
    total = tests = 0
    for document in order:
        size = document.nbytes
        test = size if document.is_test else 0
        if total + size > config.max_package_bytes or tests + test > config.max_test_share * config.max_package_bytes:
            tally.drop("over the package cap", size)
            continue
        kept.append(document)
        total += size
        tests += test
    return sorted(kept, key=lambda doc: doc.path)


def drop_near_duplicates(documents: Sequence[Document], config: CorpusConfig, tally: Tally) -> list[Document]:
    """Of files alike (Jaccard of word 5-grams at or over the threshold) the first is kept."""
    twins = near_duplicates([doc.text for doc in documents], config.near_dup_threshold, config.seed)
    for index in twins:
        tally.drop("near duplicate", documents[index].nbytes)
    return [doc for index, doc in enumerate(documents) if index not in twins]


def scrub_all(documents: Sequence[Document], tally: Tally) -> list[Document]:
    """Documents with personal data and secrets replaced; one that no longer parses afterwards is dropped."""
    kept: list[Document] = []
    for document in documents:
        text, found = scrub(document.text)
        if found and parse(text) is None:
            tally.drop("scrubbing broke it", document.nbytes)
            continue
        tally.scrubbed.update(found)
        kept.append(document.with_text(text))
    return kept
