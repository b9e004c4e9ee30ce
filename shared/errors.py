"""Errors, named after what the caller must do."""


class PipelineError(Exception):
    """Anything this application raises on purpose; every other exception is a bug and escapes."""


class BadEvent(PipelineError):
    """One input cannot be used: put it into the dead-letter with its reason and go on.

    Args:
        reason: Reason code, one of `shared.core.intake.readings.REASONS`.
        detail: What was found and which limit it broke; never the payload.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class TransientFailure(PipelineError):
    """A collaborator failed for now: let it escape to the trigger's retry policy."""


class StateConflict(TransientFailure):
    """Somebody else wrote first: reload, reapply, save once more."""


class ContractBroken(PipelineError):
    """A model, package or stored blob is not what it claims: do not use it, alert."""


class ConfigError(PipelineError):
    """The configuration is wrong: every trigger fails until it is mended, and the health route says why."""
