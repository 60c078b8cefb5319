"""All attacks with the guarantee that each of them tests, and carrying them out on one sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from vivace.core.errors import BadInput, SandboxError
from vivace.sandbox.attacks import inside
from vivace.sandbox.attacks.exhaust import EXHAUST, try_one
from vivace.sandbox.attacks.targets import Targets, targets
from vivace.sandbox.host import own_interpreter
from vivace.sandbox.limits import ExecLimits, Sandbox
from vivace.sandbox.workspace import Workspace

_REACH = {
    "network closed": (
        "tcp_to_the_hosts_loopback", "tcp_over_ipv6", "udp_to_the_hosts_loopback", "dns_query",
        "unix_socket_in_the_abstract", "unix_socket_by_path", "vsock", "raw_packets",
    ),
    "host files unreadable": (
        "read_a_file_of_the_host", "read_through_a_symlink", "read_through_a_hard_link",
        "read_through_the_root_of_a_process", "read_the_hosts_passwords", "list_a_folder_of_the_host",
        "watch_a_folder_of_the_host", "read_memory_or_log_of_the_kernel", "read_a_disk",
    ),
    "writes stay in the workspace": (
        "create_a_file_outside", "make_a_folder_outside", "overwrite_a_file_outside", "truncate_a_file_by_its_path",
        "remove_a_file_outside", "move_a_file_in", "change_permissions_outside", "change_times_outside",
        "change_attributes_outside", "change_the_base_tree", "write_to_the_system", "change_settings_of_the_kernel",
    ),
    "host processes out of reach": (
        "signal_a_process_of_the_host", "signal_by_a_process_descriptor", "read_environments_and_command_lines",
        "trace_a_process_of_the_host", "read_memory_of_a_process", "take_a_descriptor_of_a_process",
        "change_limits_of_a_process", "change_priority_of_a_process", "pin_a_process_of_the_host",
        "change_scheduling_of_a_process", "change_disk_priority_of_a_process",
    ),
    "environment clean": ("look_for_secrets_in_the_environment", "look_for_open_descriptors"),
    "host queues out of reach": (
        "attach_shared_memory_of_the_host", "take_a_message_of_the_host", "change_a_semaphore_of_the_host",
        "open_a_message_queue_of_the_host",
    ),
}  # fmt: skip

GUARANTEE: dict[str, str] = dict.fromkeys(inside.ATTACKS, "kernel surface closed")
GUARANTEE |= {name: guarantee for guarantee, names in _REACH.items() for name in names}
GUARANTEE |= {name: attack.guarantee for name, attack in EXHAUST.items()}
"""{attack: what it tests}, in the order in which they are carried out. All of them must be held off."""

SELF_TEST: tuple[str, ...] = (*inside.ATTACKS, *(name for name, attack in EXHAUST.items() if attack.self_test))
"""Those tried before anything runs: all that reach for something, and the dearest guarantees of the others."""


def carry_out(sandbox: Sandbox, names: Iterable[str] = tuple(GUARANTEE)) -> dict[str, str | None]:
    """Try these attacks on a sandbox; {name: what it reached, None if it was held off}.

    Raises:
        BadInput: there is no attack of that name.
        SandboxError: the sandbox could not run them.
    """
    wanted = list(names)
    if unknown := [name for name in wanted if name not in GUARANTEE]:
        raise BadInput(f"no attack {unknown[0]!r}; the names are {', '.join(GUARANTEE)}")
    with targets() as aim:
        found = _reach(sandbox, aim, [name for name in wanted if name in inside.ATTACKS])
        for name in wanted:
            if name in EXHAUST:
                with Workspace(aim.base, sandbox) as workspace:
                    found[name] = try_one(workspace, EXHAUST[name])
    return {name: found[name] for name in wanted}


def _reach(sandbox: Sandbox, aim: Targets, names: list[str]) -> dict[str, str | None]:
    if not names:
        return {}
    with Workspace(aim.base, sandbox) as workspace:
        result = workspace.exec([own_interpreter(), "-I", "-S", "-c", _source()],
                                stdin=json.dumps({"names": names, **aim.facts}), limits=ExecLimits(wall_s=120))
        lines = result.output.strip().splitlines() or [f"exit {result.exit_code}"]
        try:
            found: dict[str, str | None] = json.loads(lines[-1])
        except ValueError as error:
            raise SandboxError(f"{sandbox.name}: the self-test did not run ({lines[-1]}); reinstall Python") from error
    seen = {name: what for name, what in aim.reached().items() if name in names}
    return {**dict.fromkeys(names, "no answer"), **found, **seen}


@lru_cache(maxsize=1)
def _source() -> str:
    return Path(inside.__file__).read_text()
