"""The environment of programs that run on the host for an agent: names that are known to be harmless, nothing else.

Commands in a sandbox get no name of the caller's at all (`sandbox.host.clean_environment`); this is for those outside
one, and for tool servers that the user has configured.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

ALLOWED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
           "VIRTUAL_ENV", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "SYSTEMROOT")


def scrubbed_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of this process without tokens, keys, agents' sockets and whatever else is not in `ALLOWED`."""
    return {name: os.environ[name] for name in ALLOWED if name in os.environ} | dict(extra or {})
