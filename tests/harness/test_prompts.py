"""The fixed words: small enough for a small window, and no torch behind them."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from calc_repo import TASK

from vivace.harness.prompts import opening, prompt_hash
from vivace.harness.tools.registry import get_profile
from vivace.text.chat import Renderer
from vivace.text.tokenizer import train_tokenizer


@pytest.mark.slow
def test_the_nano_system_message_is_short_in_a_small_vocabulary() -> None:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:60]
    tokenizer = train_tokenizer((path.read_text(errors="ignore") for path in files), 4096)
    system, _ = opening(TASK, get_profile("nano"), native=True)
    assert len(Renderer(tokenizer).message(system)[0]) < 110


def test_only_native_models_read_signatures() -> None:
    profile = get_profile("nano")
    native, remote = (opening(TASK, profile, native=flag)[0].content for flag in (True, False))
    assert "replace_string_in_file(filePath, oldString, newString)" in native
    assert "(" not in remote
    assert native.startswith(remote)


def test_hashes_tell_profiles_apart() -> None:
    assert prompt_hash(get_profile("nano")) != prompt_hash(get_profile("copilot"))
    assert prompt_hash(get_profile("nano")) == prompt_hash(get_profile("nano"))


def test_the_harness_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import vivace.harness.agent, vivace.harness.steps, vivace.harness.clients.openai\n"
        "import vivace.harness.clients.scripted"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
