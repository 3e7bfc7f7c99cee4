"""Messages between workers and their driver: msgpack in frames over TCP, by TLS where there are certificates.

Not over Dask's own connections: these unpickle what a peer sends, before anybody has said who it is.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from hmac import compare_digest
from struct import Struct
from typing import Any

import msgpack
from distributed.security import Security
from distributed.utils import get_ip

from crawler.cluster.link import LinkError
from crawler.cluster.messages import MessageError

_CONNECT_S = 5.0
_HEAD = Struct(">I")
_TOKEN = "token "  # noqa: S105 - a name
"""The name of what each message has besides; no message has a field of that name."""
_MOST_BYTES = 256 * 1024 * 1024
"""Of one message: a shard of ten thousand pages, or a commit of pages, is a small part of it."""
_EVERYWHERE = {"0.0.0.0", "[::]", "::"}  # noqa: S104 - such an address is no place to connect to

Handle = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def listening(
    address: str, token: str, handle: Handle, security: Security, near: str = ""
) -> AsyncIterator[str]:
    """Answer messages at an address such as `tcp://127.0.0.1:0`; gives the address to connect to.

    Where it listens everywhere, that is the address by which this host reaches `near`. A message of a wrong
    form, or without the token, ends its connection, and no other.
    """
    protocol, host, port = parts_of(address)
    connections = set[asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        try:
            with suppress(OSError, EOFError, MessageError, asyncio.CancelledError):
                while True:
                    await _write(writer, await handle(_authorised(await _read(reader), token)))
        finally:
            connections.discard(writer)
            writer.transport.abort()

    context = _context(security.get_listen_args("client")) if protocol == "tls" else None
    server = await asyncio.start_server(serve, host, port, ssl=context)
    try:
        bound = server.sockets[0].getsockname()[1]
        yield f"{protocol}://{_reached(host, near)}:{bound}"
    finally:
        server.close()
        for writer in connections.copy():
            writer.transport.abort()


class CommLink:
    """A `Link` over one connection, which is made when it is needed, and again after a loss."""

    def __init__(self, address: str, token: str, security: Security) -> None:
        self._address, self._token = address, token
        protocol, self._host, self._port = parts_of(address)
        self._context = _context(security.get_connection_args("client")) if protocol == "tls" else None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def call(self, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """See `Link`."""
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._ask(message)
            except (OSError, EOFError, TimeoutError, MessageError) as error:
                raise LinkError(f"{self._address} does not answer: {error}") from None

    async def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        streams, self._streams = self._streams, None
        try:
            if streams is None:
                async with asyncio.timeout(_CONNECT_S):
                    streams = await asyncio.open_connection(self._host, self._port, ssl=self._context)
            await _write(streams[1], {**message, _TOKEN: self._token})
            reply = await _read(streams[0])
        except BaseException:
            # What was not answered must not be taken for the answer to the next message.
            if streams is not None:
                streams[1].transport.abort()
            raise
        self._streams = streams
        return reply

    def close(self) -> None:
        """Give the connection up."""
        if self._streams is not None:
            self._streams[1].transport.abort()


def parts_of(address: str) -> tuple[str, str, int]:
    """Protocol, host and port of an address such as `tls://10.0.0.5:8787`."""
    protocol, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    return protocol, host.strip("[]"), int(port)


def _reached(host: str, near: str) -> str:
    if host not in _EVERYWHERE:
        return host
    return str(get_ip(near) if near else get_ip())


def _context(options: dict[str, Any]) -> ssl.SSLContext:
    context: ssl.SSLContext = options["ssl_context"]
    return context


def _authorised(message: dict[str, Any], token: str) -> dict[str, Any]:
    """The message without its token. Raises `MessageError` where that is another one."""
    if not compare_digest(str(message.pop(_TOKEN, "")).encode(), token.encode()):
        raise MessageError("a message without the token")
    return message


async def _read(reader: asyncio.StreamReader) -> dict[str, Any]:
    (length,) = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if length > _MOST_BYTES:
        raise MessageError(f"a message of {length} bytes")
    content = await reader.readexactly(length)
    try:
        message = msgpack.unpackb(content)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise MessageError(f"no message: {error}") from None
    if not isinstance(message, dict):
        raise MessageError(f"{type(message).__name__} is no message")
    return message


async def _write(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    content = msgpack.packb(message)
    writer.writelines((_HEAD.pack(len(content)), content))
    await writer.drain()
