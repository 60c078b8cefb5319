"""The chat and status pages in a real browser, where one is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from vivace.serve.app import PAGES

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def dom(address: str, folder: Path, milliseconds: int = 8000) -> str:
    """The page after its scripts have run for a while."""
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}",
               f"--virtual-time-budget={milliseconds}", "--dump-dom", address]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
@pytest.mark.slow
def test_a_question_is_put_on_the_chat_page(url: str, http: httpx.Client, tmp_path: Path) -> None:
    page = dom(f"{url}/chat?ask=hello+there&tokens=6", tmp_path)
    assert '<option value="tiny">' in page or ">tiny</option>" in page
    assert '<div class="turn user">hello there</div>' in page
    assert '<div class="turn assistant">' in page
    assert 'class="turn error"' not in page


@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
@pytest.mark.slow
def test_the_status_page_shows_numbers(url: str, http: httpx.Client, tmp_path: Path) -> None:
    http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}], "max_tokens": 3})
    page = dom(f"{url}/status", tmp_path, 1000)
    assert "<dt>tokens generated</dt>" in page
    assert "runner, 0 running, 0 waiting" in page


def test_pages_are_self_contained(http: httpx.Client) -> None:
    for name in ("chat", "status"):
        answer = http.get(f"/{name}")
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.text == (PAGES / f"{name}.html").read_text()
        assert "src=" not in answer.text.replace("default-src", "")
