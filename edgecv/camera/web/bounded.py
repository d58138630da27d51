"""uvicorn's HTTP protocol with limits of our own: it has none for slow clients and large headers.

Measured on uvicorn 0.54: no deadline for headers, 70 kB of them and 2,000 of them pass, a client that stops
reading holds its connection for ever, and so does one that has its answer and sends the body drop by drop: any
byte ends the keep-alive timer, and nothing starts it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Limits", "bounded_protocol", "reap"]

_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Limits:
    """What a client may cost.

    Attributes:
        connections: Open at once.
        per_address: Of these, by one address.
        head_s: From the connection, or from the first byte of a further request, to its last header; and from
            an answer to the last byte of a body that was not waited for.
        head_bytes: Of request line and headers.
        stuck_s: How long a client may not read what waits for it.
        open: Connections that are open.
    """

    connections: int = 160
    per_address: int = 100
    head_s: float = 3.0
    head_bytes: int = 16_384
    stuck_s: float = 10.0
    open: set[Any] = field(default_factory=set)


def bounded_protocol(limits: Limits) -> type[H11Protocol]:
    """The protocol class for ``uvicorn.Config(http=…)``."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Bounded(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _head = 0
        _refused = False
        #: Since when the client has not read; kept by :func:`reap`.
        stuck_since: float | None = None
        #: Since when it owes a body that nobody waits for; kept by :func:`reap`.
        owes_since: float | None = None

        @property
        def owes(self) -> bool:
            """Whether the answer is complete and the request's body is not."""
            answered = self.cycle is not None and self.cycle.response_complete
            return answered and self.conn.their_state is h11.SEND_BODY

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            address = (transport.get_extra_info("peername") or ("",))[0]
            same = sum(one.client is not None and one.client[0] == address for one in limits.open)
            if len(limits.open) >= limits.connections or same >= limits.per_address:
                self._refused = True
                transport.write(_FULL)
                transport.close()
                return
            limits.open.add(self)
            super().connection_made(transport)
            self._arm()

        def _arm(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(limits.head_s, self._late)

        def _disarm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _late(self) -> None:
            self._deadline = None
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self.transport.abort()

        def data_received(self, data: bytes) -> None:
            if self._refused or self.transport.is_closing():
                return
            if self.conn.their_state is h11.IDLE:
                self._arm()
                self._head += len(data)
                cut = data.find(b"\r\n\r\n")
                head = self._head if cut < 0 else self._head - len(data) + cut
                if head > limits.head_bytes:
                    self.transport.write(_LARGE)
                    self.transport.close()
                    return
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._arm()  # also after the rest of a body that nobody waited for: uvicorn's timer is gone
            else:
                self._head = 0
                self._disarm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            limits.open.discard(self)
            if not self._refused:
                super().connection_lost(exc)

    return Bounded


async def reap(limits: Limits) -> None:
    """Abort, again and again, connections whose client does not read, or owes a body after its answer."""
    clock = asyncio.get_running_loop().time

    def since(now: bool, before: float | None) -> float | None:
        return (clock() if before is None else before) if now else None

    def over(began: float | None, most_s: float) -> bool:
        return began is not None and clock() - began > most_s

    while True:
        await asyncio.sleep(min(1.0, limits.stuck_s / 4, limits.head_s / 4))
        for one in tuple(limits.open):
            waits = one.transport.get_write_buffer_size() > 0
            stuck = one.flow.write_paused or (one.transport.is_closing() and waits)
            one.stuck_since = since(stuck, one.stuck_since)
            one.owes_since = since(one.owes, one.owes_since)
            if over(one.stuck_since, limits.stuck_s) or over(one.owes_since, limits.head_s):
                one.transport.abort()
