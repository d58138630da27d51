"""uvicorn's HTTP protocol with limits of our own: it has none for slow clients and large headers.

Measured on uvicorn 0.54: no deadline for headers, 70 kB of them and 2,000 of them pass, and a client that
stops reading holds its connection for ever.
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
        head_s: From the connection, or from the first byte of a further request, to its last header.
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
            if self.conn.their_state is not h11.IDLE:
                self._head = 0
                self._disarm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            limits.open.discard(self)
            if not self._refused:
                super().connection_lost(exc)

    return Bounded


async def reap(limits: Limits) -> None:
    """Abort, again and again, connections whose client does not read."""
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(min(1.0, limits.stuck_s / 4))
        for one in tuple(limits.open):
            waits = one.transport.get_write_buffer_size() > 0
            if not (one.flow.write_paused or (one.transport.is_closing() and waits)):
                one.stuck_since = None
            elif one.stuck_since is None:
                one.stuck_since = clock()
            elif clock() - one.stuck_since > limits.stuck_s:
                one.transport.abort()
