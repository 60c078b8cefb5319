"""Typed errors. Every one of them carries a single line that a person can act on."""


class VivaceError(Exception):
    """Base of everything Vivace raises on purpose; the CLI prints it as one line and exits with `exit_code`."""

    exit_code = 1


class BadInput(VivaceError):
    """The user gave something that cannot work: the message says what is wrong and what to do."""

    exit_code = 2


class ContextOverflow(BadInput):
    """A conversation fills the model's context: there is no room for even one more token."""


class InfraError(VivaceError):
    """The machine, network or sandbox failed. Never a reward of zero: callers retry or exclude."""

    exit_code = 3


class SandboxError(InfraError):
    """No safe isolation could be had, or a sandbox broke while in use."""


class ModelError(InfraError):
    """A model endpoint did not answer, or answered something unusable."""
