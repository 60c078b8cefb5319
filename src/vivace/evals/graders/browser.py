"""Screenshots of a page that a model wrote: headless Chromium driven by Playwright, in the sandbox, without network.

The browser is the one of VIVACE_CHROMIUM, else Debian's, else the one that `playwright install chromium` put in place.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.sandbox import ExecLimits, Sandbox, Workspace

SETTING, SHOTS, GAP_S, SECONDS = "VIVACE_CHROMIUM", 3, 1.0, 120.0
WIDTH, HEIGHT = 1280, 720
_SYSTEM = ("/usr/lib/chromium/chromium", "/usr/lib/chromium-browser/chromium-browser", "/opt/google/chrome/chrome")
_DRIVE = f"""
import sys, time
from playwright.sync_api import Error, sync_playwright
with sync_playwright() as playwright:
    # The sandbox around it is ours: Chromium's own needs namespaces that are not to be had in there.
    browser = playwright.chromium.launch(headless=True, executable_path=sys.argv[1], args=[
        "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
    page = browser.new_context(viewport={{"width": {WIDTH}, "height": {HEIGHT}}}).new_page()
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.goto("file://" + sys.argv[2] + "/page.html", wait_until="load", timeout=30_000)
    try:
        page.wait_for_load_state("networkidle", timeout=10_000)
    except Error:
        pass
    for number in range({SHOTS}):
        page.screenshot(path=f"shot{{number}}.png", full_page=True, timeout=30_000)
        if number < {SHOTS} - 1:
            time.sleep({GAP_S})
    browser.close()
"""


@cache
def browser() -> Path:
    """Path of a Chromium. BadInput: there is none, or Playwright is not installed; says what to do."""
    if importlib.util.find_spec("playwright") is None:
        raise BadInput("screenshots need Playwright: pip install 'vivace[browser]'")
    if given := os.environ.get(SETTING):
        if not Path(given).is_file():
            raise BadInput(f"no browser at {given} ({SETTING})")
        return Path(given)
    found = next((path for path in map(Path, _SYSTEM) if path.is_file()), None)
    if found is None:
        home = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache" / "ms-playwright"))
        found = next(iter(sorted(home.glob("chromium-*/chrome-linux*/chrome"), reverse=True)), None)
    if found is None:
        raise BadInput("screenshots need Chromium: apt-get install chromium, or playwright install chromium")
    return found


def identity() -> dict[str, str]:
    """Name and version of the browser; empty where there is none."""
    try:
        path = browser()
    except BadInput:
        return {}
    done = subprocess.run([str(path), "--version"], capture_output=True, text=True, timeout=60)
    return {"browser": " ".join(done.stdout.split()[:2]), "viewport": f"{WIDTH}x{HEIGHT}", "network": "none"}


def screenshots(page: str, sandbox: Sandbox) -> tuple[list[bytes], str]:
    """(PNGs of the whole page, a second apart; why there are none).

    Raises:
        BadInput: no browser.
        InfraError: the sandbox failed.
    """
    program, name = browser(), "drive.py"
    files = {"page.html": page.encode(), name: _DRIVE.encode()}
    readonly = [Path(sys.prefix), *([] if str(program).startswith("/usr/") else [program.parent])]
    # Chromium reserves far more addresses than it uses, so only time, processes and disk hold it.
    limits = ExecLimits(wall_s=SECONDS, memory_mb=1 << 20, processes=512, disk_mb=512)
    with (tempfile.TemporaryDirectory(prefix="vivace-page-") as base,
          Workspace(Path(base), sandbox, overlay=files, readonly=readonly) as workspace):
        home = {"HOME": workspace.mount, "XDG_CONFIG_HOME": f"{workspace.mount}/.config"}
        done = workspace.exec([sys.executable, "-B", name, str(program), workspace.mount], limits=limits, env=home)
        shots = [workspace.read_bytes(f"shot{number}.png") for number in range(SHOTS)
                 if workspace.exists(f"shot{number}.png")]
    if done.exit_code == 0 and len(shots) == SHOTS:
        return shots, ""
    return [], done.killed or " ".join(done.output.split())[-160:] or f"exit {done.exit_code}"
