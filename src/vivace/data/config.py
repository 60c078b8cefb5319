"""Settings of the corpus build and the pinned list of its packages."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vivace.core.errors import BadInput

Role = Literal["train", "valid", "eval"]


class PackagePin(BaseModel):
    """One wheel, fixed by digest. Roles: `train`, `valid` (in-domain loss only), `eval` (held out from everything)."""

    model_config = ConfigDict(extra="forbid")
    name: str
    version: str
    filename: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: str
    role: Role = "train"


class FilterConfig(BaseModel):
    """Thresholds of the file filters; sources are named in docs/DATA.md."""

    model_config = ConfigDict(extra="forbid")
    min_chars: int = 200
    max_chars: int = 200_000
    max_line: int = 1000
    max_mean_line: float = 100
    min_alphanumeric: float = 0.25
    min_alphabetic: float = 0.25
    max_digits: float = 0.2
    max_import_lines: float = 0.5
    max_data_lines: float = 0.5
    max_comment_lines: float = 0.8


class CorpusConfig(BaseModel):
    """What goes into the corpus and how it is cut. Every random choice follows from `seed`."""

    model_config = ConfigDict(extra="forbid")
    manifest: Path = Path("recipes/corpus.toml")
    seed: int = 0
    vocab_size: int = 4096
    max_package_bytes: int = 600_000
    max_test_share: float = Field(0.25, ge=0, le=1)
    near_dup_threshold: float = Field(0.7, gt=0, le=1)
    max_seen_functions: float = Field(0.7, gt=0, le=1)
    path_header_rate: float = Field(0.5, ge=0, le=1)
    fim_rate: float = Field(0.1, ge=0, le=1)
    fim_chars: int = 4000
    filters: FilterConfig = FilterConfig()


def load_manifest(path: Path) -> list[PackagePin]:
    """Packages of a manifest (TOML, `[[package]]` tables), in name order."""
    if not path.exists():
        raise BadInput(f"no corpus manifest at {path}; recipes/corpus.toml of the repository is one")
    try:
        rows = tomllib.loads(path.read_text()).get("package", [])
        pins = [PackagePin.model_validate(row) for row in rows]
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise BadInput(f"{path} is not a corpus manifest: {str(error).splitlines()[0]}") from error
    names = [pin.name for pin in pins]
    if not pins or len(set(names)) != len(names):
        raise BadInput(f"{path} names no package, or one twice; every [[package]] needs its own name")
    return sorted(pins, key=lambda pin: pin.name)
