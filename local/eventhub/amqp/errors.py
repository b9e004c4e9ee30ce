"""What goes wrong on a connection, as it travels to the peer."""

from typing import NamedTuple

from shared.errors import PipelineError


class AmqpError(NamedTuple):
    """An error as it travels to the peer, e.g. condition `amqp:not-found`."""

    condition: str
    description: str


class Refused(PipelineError):
    """What the peer sent or asked for is refused, with the error that it is told."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.error = AmqpError(condition, description)


class ProtocolViolation(Refused):
    """The peer broke a rule of the protocol: close its connection."""


class LinkRefused(Refused):
    """What the peer asked for cannot be had: detach that link, the connection goes on."""
