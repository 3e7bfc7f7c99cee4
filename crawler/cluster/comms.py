"""Messages over Dask's own connections, with its TLS: the only module that knows them.

Values are plain, and nothing from the wire is unpickled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from distributed.comm.core import Comm, CommClosedError, connect, listen
from distributed.security import Security

from crawler.cluster.link import LinkError
from crawler.cluster.messages import MessageError

_CONNECT_S = 5.0

Handle = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def listening(address: str, handle: Handle, security: Security) -> AsyncIterator[str]:
    """Answer messages at an address such as `tcp://127.0.0.1:0`; gives the address to connect to.

    A message of a wrong form ends its connection, and no other.
    """
    connections = set[Comm]()

    async def serve(comm: Comm) -> None:
        connections.add(comm)
        try:
            with suppress(CommClosedError, MessageError, asyncio.CancelledError):
                while True:
                    message = await comm.read()
                    if not isinstance(message, dict):
                        raise MessageError(f"{type(message).__name__} is no message")
                    await comm.write(await handle(message))
        finally:
            connections.discard(comm)
            comm.abort()

    options = security.get_listen_args("client")
    async with listen(address, serve, deserialize=False, **options) as listener:
        try:
            yield str(listener.contact_address)
        finally:
            for comm in connections.copy():
                comm.abort()


class CommLink:
    """A `Link` over one connection, which is made when it is needed, and again after a loss."""

    def __init__(self, address: str, security: Security) -> None:
        self._address = address
        self._options = security.get_connection_args("client")
        self._comm: Comm | None = None
        self._turn = asyncio.Lock()

    async def call(self, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """See `Link`."""
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._ask(message)
            except (OSError, CommClosedError, TimeoutError) as error:
                raise LinkError(f"{self._address} does not answer: {error}") from None

    async def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        comm, self._comm = self._comm, None
        try:
            if comm is None or comm.closed():
                comm = await connect(self._address, timeout=_CONNECT_S, deserialize=False, **self._options)
            await comm.write(message)
            reply: dict[str, Any] = await comm.read()
        except BaseException:
            # What was not answered must not be taken for the answer to the next message.
            if comm is not None:
                comm.abort()
            raise
        self._comm = comm
        return reply

    def close(self) -> None:
        """Give the connection up."""
        if self._comm is not None:
            self._comm.abort()
