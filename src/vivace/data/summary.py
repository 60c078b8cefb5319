"""docs/DATA.md, from the manifest and a built corpus: `python -m vivace.data.summary MANIFEST CORPUS DOC`.

The headings follow the public training-data summary of Article 53(1)(d) of the EU AI Act (template C(2025) 8311).
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_text
from vivace.data.config import PackagePin, load_manifest
from vivace.data.corpus import CorpusReport

BLOCK = "<!-- generated: {} -->\n{}<!-- end: {} -->"


def fill(document: str, name: str, text: str) -> str:
    """`document` with its generated block `name` replaced by `text`; BadInput where the block is missing."""
    pattern = re.compile(BLOCK.format(re.escape(name), ".*?", re.escape(name)), re.S)
    if not pattern.search(document):
        raise BadInput(f"the document has no block <!-- generated: {name} -->; put the two marker lines back")
    return pattern.sub(lambda _: BLOCK.format(name, text, name), document)


def package_table(pins: Sequence[PackagePin]) -> str:
    """Markdown table of every package, with its licence and role."""
    rows = "".join(f"| {pin.name} | {pin.version} | {pin.licence} | {pin.role} |\n" for pin in pins)
    return "| package | version | licence (SPDX) | role |\n|---|---|---|---|\n" + rows


def licence_table(pins: Sequence[PackagePin]) -> str:
    """Packages per licence, most frequent first."""
    counts = Counter(pin.licence for pin in pins).most_common()
    return "| licence | packages |\n|---|---|\n" + "".join(f"| {name} | {count} |\n" for name, count in counts)


def size_table(report: CorpusReport) -> str:
    """Documents, bytes and tokens of each split."""
    rows = ""
    for name in ("train", "val", "indomain"):
        split = getattr(report, name)
        rows += (
            f"| {name} | {split.packages} | {split.documents:,} | {split.bytes / 1e6:.2f} | "
            f"{split.tokens:,} | {split.bytes / max(split.tokens, 1):.2f} |\n"
        )
    top = max(report.package_bytes.values()) / report.train.bytes
    return (
        "| split | packages | documents | MB | tokens | bytes per token |\n|---|---|---|---|---|---|\n" + rows
        + f"\nLargest share of one package: {top:.1%}. Word 13-grams of `val` that also occur in `train`: "
        f"{report.heldout_overlap:.2%}.\n"
    )


def filter_table(report: CorpusReport) -> str:
    """Files and bytes dropped under each reason, and the scrubber's replacements."""
    rows = "".join(
        f"| {reason} | {count:,} | {report.dropped_bytes.get(reason, 0) / 1e6:.2f} |\n"
        for reason, count in report.dropped_files.items()
    )
    scrubbed = ", ".join(f"{count} × {kind}" for kind, count in report.scrubbed.items()) or "nothing"
    return (
        f"Of {report.files_seen:,} files ({report.bytes_seen / 1e6:.1f} MB) read:\n\n"
        "| dropped because | files | MB |\n|---|---|---|\n" + rows + f"\nReplaced in what was kept: {scrubbed}.\n"
    )


def render(document: str, pins: Sequence[PackagePin], report: CorpusReport) -> str:
    """The document with all four generated blocks brought up to date."""
    for name, text in (
        ("size", size_table(report)), ("filters", filter_table(report)),
        ("licences", licence_table(pins)), ("packages", package_table(pins)),
    ):
        document = fill(document, name, text)
    return document


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 3:
        raise SystemExit("usage: python -m vivace.data.summary MANIFEST CORPUS_FOLDER DOCUMENT")
    manifest, corpus, path = map(Path, arguments)
    report = CorpusReport.model_validate_json((corpus / "meta.json").read_text())
    atomic_write_text(path, render(path.read_text(), load_manifest(manifest), report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
