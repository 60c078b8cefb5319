"""Runs as a script, in a process of its own: downloads source distributions without building them.

`pip download` runs a source distribution's build code on the host merely to read its metadata. Package code may run
only in the sandbox, so this borrows pip's own finder and session instead: the same indexes, find-links, certificates,
proxies and credentials as the user's pip, and nothing is executed. Reads a JSON list of {"name", "version", "sha256",
"path"} on standard input, writes one JSON line {"name", "problem"} each; "problem" is "" when the file is in place.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any


def open_pip() -> tuple[Any, Any]:
    """pip's package finder and network session, set up from pip's configuration."""
    from pip._internal.commands import create_command

    command: Any = create_command("download")
    with command.main_context():
        options, _ = command.parse_args(["--retries", "2", "unused"])
        session = command.get_default_session(options)
        return command._build_package_finder(options, session), session


def download(finder: Any, session: Any, wanted: dict[str, str]) -> str:
    """Fetch one file to its path; a problem in words, or "". The caller checks the digest."""
    links = [candidate.link for candidate in finder.find_all_candidates(wanted["name"])
             if str(candidate.version) == wanted["version"] and candidate.link.filename.endswith((".tar.gz", ".tgz"))]
    if not links:
        return "absent"
    # Several indexes may hold the file: the one that announces the pinned digest first.
    link = min(links, key=lambda found: found.hash != wanted["sha256"])
    answer = session.get(link.url_without_fragment, headers={"Accept-Encoding": "identity"})
    answer.raise_for_status()
    with open(wanted["path"], "wb") as file:
        file.write(answer.content)
    return ""


def main() -> None:
    wanted = json.load(sys.stdin)
    logging.basicConfig(level=logging.DEBUG)  # at this level pip says which index did not answer
    finder, session = open_pip()
    for item in wanted:
        try:
            problem = download(finder, session, item)
        except Exception as error:  # noqa: BLE001 - the boundary to pip: whatever it raises becomes one line for the caller
            problem = f"{type(error).__name__}: {str(error)[:160]}"
        print(json.dumps({"name": item["name"], "problem": problem}), flush=True)
        if problem:
            break  # where one fails for want of a network, each of the others would take its time to


if __name__ == "__main__":
    main()
