"""Rows of a data file as the hubs ship them: JSON lines, JSON, CSV, Parquet; and hub ids with a pinned revision."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import read_json, read_jsonl, sha256_file

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_HUB = re.compile(r"hub:([\w.-]+/[\w.-]+)@([0-9a-f]{40})(?::(.+))?")


def rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a file, or of the only data file of a folder.

    Raises:
        BadInput: missing, several to choose from, of unknown kind, or damaged.
    """
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES)
        if len(found) != 1:
            raise BadInput(f"{path} holds {len(found)} data files; name one of them")
        path = found[0]
    if not path.exists():
        raise BadInput(f"no data at {path}; give --data SUITE=PATH")
    read: Callable[[Path], Any] | None = {".jsonl": read_jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv,
                                          ".parquet": _parquet}.get(path.suffix)
    if read is None:
        raise BadInput(f"{path} is none of {', '.join(SUFFIXES)}; convert it to one of them")
    found_rows = list(read(path))
    if not found_rows or not all(isinstance(row, dict) for row in found_rows):
        raise BadInput(f"{path} has no rows; check that it is the data file of this benchmark")
    return found_rows


def need(row: dict[str, Any], *names: str) -> list[Any]:
    """The values of fields that must be there; BadInput names the missing one."""
    for name in names:
        if row.get(name) is None:
            raise BadInput(f"a row has no field {name!r} (it has {', '.join(map(str, row))}); "
                           "is it the data file of this benchmark?")
    return [row[name] for name in names]


def data_digest(path: Path) -> str:
    """Names and contents of a data file or folder, as 16 hex digits: the revision of what was really read."""
    import hashlib

    whole = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        whole.update(f"{file.name if file is path else file.relative_to(path)} {sha256_file(file)}\n".encode())
    return whole.hexdigest()[:16]


def resolve(text: str) -> Path:
    """A local path, or the local copy of `hub:OWNER/NAME@REVISION[:FILE]`, fetched with huggingface_hub.

    Raises:
        BadInput: no such path, no or no full revision, huggingface_hub is not installed.
        InfraError: the hub refuses (a gate that was not accepted, say) or cannot be reached.
    """
    if not text.startswith("hub:"):
        path = Path(text).expanduser()
        if not path.exists():
            raise BadInput(f"no data at {path}; give a file, a folder, or hub:OWNER/NAME@REVISION")
        return path
    match = _HUB.fullmatch(text)
    if match is None:
        raise BadInput(f"{text}: write hub:OWNER/NAME@REVISION[:FILE] with all 40 digits of the revision, "
                       "so that the same data are read next year")
    try:
        hub = import_module("huggingface_hub")
    except ImportError:
        raise BadInput("reading from the hub needs huggingface_hub: pip install 'vivace[hf]'") from None
    name, revision, file = match.groups()
    try:
        if file:
            return Path(hub.hf_hub_download(name, file, repo_type="dataset", revision=revision))
        return Path(hub.snapshot_download(name, repo_type="dataset", revision=revision))
    except (OSError, ValueError) as error:  # its own errors are requests' and httpx's, which are OSErrors
        raise InfraError(f"the hub did not give {name}: {' '.join(str(error).split())[:200]}; accept its terms there "
                         "and log in with `hf auth login`, or give a local copy") from error


def _json(path: Path) -> Any:
    try:
        value = read_json(path, "fetch it again")
    except BadInput:  # JSON lines under the name of JSON, as some hubs have them
        with path.open(encoding="utf-8") as file:
            if not file.readline().rstrip().endswith("}"):
                raise
        return read_jsonl(path)
    if isinstance(value, dict):
        value = next((part for part in value.values() if isinstance(part, list)), [value])
    return value


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # conversations in one cell exceed the default
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise BadInput(f"reading {path.name} needs pyarrow: pip install pyarrow, or convert it to JSON lines") from None
    return list(parquet.read_table(path).to_pylist())


def parsed(value: Any) -> Any:
    """A field that some versions of a data set hold as JSON in a string."""
    return json.loads(value) if isinstance(value, str) else value
