"""The two axes of the policy, and what they come to on this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from vivace.core.errors import BadInput
from vivace.harness.policy.unconfined import Unconfined
from vivace.sandbox import Sandbox, open_sandbox

SandboxMode = Literal["read-only", "workspace-write", "full"]
"""read-only: nothing the agent does stays. workspace-write: it works on a private copy in the sandbox, and the checkout
is written where the user agrees. full: the same, but its commands run as the user, with network and no sandbox."""
Approval = Literal["untrusted", "on-request", "never"]
"""untrusted: every command that does more than look is asked about. on-request: what leaves the sandbox, or touches
what the host runs later. never: nobody is asked; what would have to be is refused."""
_SANDBOXES: tuple[SandboxMode, ...] = get_args(SandboxMode)
_APPROVALS: tuple[Approval, ...] = get_args(Approval)  # from the strictest on


@dataclass(frozen=True)
class Policy:
    """What an agent may do.

    `protected`: more patterns of files whose changes are asked about one by one. `servers`: tool servers that need no
    asking. `unattended`: "full" together with "never" is really meant.
    """

    sandbox: SandboxMode = "workspace-write"
    approval: Approval = "on-request"
    protected: tuple[str, ...] = ()
    servers: frozenset[str] = frozenset()
    unattended: bool = False

    def __post_init__(self) -> None:
        if self.sandbox == "full" and self.approval == "never" and not self.unattended:
            raise BadInput("without a sandbox (full) and without asking (never) a model could do anything on this "
                           "machine; choose another of the two, or add --unattended where that is meant")

    def tightened(self, sandbox: SandboxMode | None, approval: Approval | None, protected: tuple[str, ...]) -> Policy:
        """With the stricter of this and what somebody asks for who may only take away, as a repository may."""
        strictest_sandbox = min(self.sandbox, sandbox or self.sandbox, key=_SANDBOXES.index)
        strictest = self.approval
        if approval is not None and "never" not in (approval, strictest):
            strictest = min(strictest, approval, key=_APPROVALS.index)
        return replace(self, sandbox=strictest_sandbox, approval=strictest, protected=(*self.protected, *protected))

    def open(self, trusted: bool) -> Sandbox:
        """The isolation that this policy has here.

        Raises:
            BadInput: "full" in a folder that the user does not trust.
            SandboxError: none holds here.
        """
        if self.sandbox != "full":
            return open_sandbox()
        if not trusted:
            raise BadInput("--sandbox full runs this folder's code as you; say `vivace trust` in it first, or leave it "
                           "in the sandbox")
        return Unconfined()

    def line(self, sandbox: Sandbox) -> str:
        """What is in force, on one line: the settings, and what really holds."""
        found = sandbox.describe()
        lacking = f", without: {', '.join(found.missing)}" if found.missing else ""
        where = "NO SANDBOX" if isinstance(sandbox, Unconfined) else f"in {sandbox.name}"
        return f"sandbox: {self.sandbox} {where}{lacking}; approval: {self.approval}"

    def brief(self, sandbox: Sandbox) -> str:
        """The same for narrow places; "-" after the name: something is not held."""
        where = "NO SANDBOX" if isinstance(sandbox, Unconfined) else sandbox.name.replace("bubblewrap", "bwrap")
        return f"{self.sandbox}/{self.approval} {where}{'-' * bool(sandbox.describe().missing)}"


def as_sandbox(text: str) -> SandboxMode:
    """BadInput for anything but a sandbox mode."""
    for name in _SANDBOXES:
        if text == name:
            return name
    raise BadInput(f"sandbox {text!r}: choose one of {', '.join(_SANDBOXES)}")


def as_approval(text: str) -> Approval:
    """BadInput for anything but an approval mode."""
    for name in _APPROVALS:
        if text == name:
            return name
    raise BadInput(f"approval {text!r}: choose one of {', '.join(_APPROVALS)}")

