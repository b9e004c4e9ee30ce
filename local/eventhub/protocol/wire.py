"""What a link needs of its session."""

from typing import Protocol

from local.eventhub.amqp.errors import AmqpError


class Pumped(Protocol):
    """A link that sends when it is asked to."""

    def pump(self) -> None:
        """Send one share of what there is."""


class Wire(Protocol):
    """What a link needs of its session."""

    @property
    def writable(self) -> bool:
        """Whether a message can be sent now."""

    def settle(self, delivery_id: int, error: AmqpError | None) -> None:
        """Tell the peer the outcome of its delivery."""

    def send(self, handle: int, message: bytes) -> None:
        """Send a message, settled."""

    def flow(self, handle: int, *, delivery_count: int, credit: int, drain: bool = False) -> None:
        """Tell the peer the state of a link."""

    def detach(self, handle: int, error: AmqpError) -> None:
        """End a link."""

    def schedule(self, link: Pumped) -> None:
        """Pump a link when the connection can take more."""

    def reply(self, node: str, reply_to: str | None, message: bytes) -> None:
        """Put a message on the reply link of a node."""
