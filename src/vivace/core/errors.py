"""Typed errors. Every one of them carries a single line that a person can act on."""


class VivaceError(Exception):
    """Base of everything Vivace raises on purpose; the CLI prints it as one line and exits with `exit_code`."""

    exit_code = 1
    kind = "error"
    """Names the sort of failure in records (`Trajectory.error_kind`)."""


class BadInput(VivaceError):
    """The user gave something that cannot work: the message says what is wrong and what to do."""

    exit_code = 2
    kind = "bad_input"


class ContextOverflow(BadInput):
    """A conversation fills the model's context: there is no room for even one more token."""


class InfraError(VivaceError):
    """The machine, network or sandbox failed. Never a reward of zero: callers retry or exclude."""

    exit_code = 3
    kind = "infra"


class SandboxError(InfraError):
    """No safe isolation could be had, or a sandbox broke while in use."""

    kind = "sandbox"


class ModelError(InfraError):
    """A model endpoint did not answer, or answered something unusable. Its subclasses are the ways this happens.

    `passing`: the same request may well succeed in a moment. `retry_after_s`: how long the endpoint asked to wait.
    """

    kind = "model"
    passing = False

    def __init__(self, problem: str, *, passing: bool | None = None, retry_after_s: float = 0.0) -> None:
        super().__init__(problem)
        self.passing = type(self).passing if passing is None else passing
        self.retry_after_s = retry_after_s


class Unreachable(ModelError):
    """Nobody listens at the address, or it is none."""

    kind = "unreachable"


class EndpointTimeout(ModelError):
    """No byte for too long, or no end of the answer in the time that one may take."""

    kind, passing = "timeout", True


class RateLimited(ModelError):
    """429: too many requests or tokens for this key."""

    kind, passing = "rate_limited", True


class EndpointFailed(ModelError):
    """5xx, or an error told in the middle of an answer."""

    kind, passing = "endpoint_failed", True


class CutAnswer(ModelError):
    """The connection ended before the answer did."""

    kind, passing = "cut_answer", True


class BadAnswer(ModelError):
    """An answer that is not in the form of the API."""

    kind = "bad_answer"


class KeyRefused(ModelError):
    """401 or 403."""

    kind = "key_refused"


class UnknownModel(ModelError):
    """The endpoint has no such model, or no such address."""

    kind = "unknown_model"


class RequestRefused(ModelError):
    """Any other 4xx: the endpoint does not accept what was asked."""

    kind = "request_refused"


class Filtered(ModelError):
    """The endpoint withheld the answer for what is in it."""

    kind = "filtered"


class Stopped(Exception):
    """Whoever asked wants the answer no more; raised by a client that was told so while it answered."""
