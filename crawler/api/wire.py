"""aiohttp below its session: connect, write one request, read one answer, or say why none came.

Open it when an upgrade of aiohttp breaks the client: only this module knows the connector, the response
handler and the client request, and `tests/api/test_wire.py` names what has changed of them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import Mapping
from functools import cached_property
from math import inf
from typing import NamedTuple

import aiohttp
from aiohttp import connector
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from crawler.models.errors import UnavailableError

TRIED_WITH = ("3.14.1", "3.14.5")
"""The versions of aiohttp, first and last, that all tests of the client were run with."""
NO_ANSWER = (aiohttp.ClientError, HttpProcessingError, aiohttp.EofStream, OSError, ValueError)
"""What `connect`, `ask` and `around_query` raise where no answer came; `cause_of` reads it."""
CONNECT_TIMEOUT = "connect timeout"
_RESET = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})
_READ_AT_ONCE = _MAX_HEADER_BYTES = 256 * 1024
_MAX_HEADERS = 256
"""Limits of an answer's header lines: gateways add cookies longer than aiohttp's own limit of 8,190 bytes."""
_SWITCHING_PROTOCOLS = 101


class Answer(NamedTuple):
    """An HTTP answer; `body` is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Target:
    """Whom requests go to, by which proxy and headers; made on a running loop. May raise `ValueError`."""

    def __init__(self, url: str, headers: dict[str, str], proxy: str | None) -> None:
        loop, proxy_url = asyncio.get_running_loop(), None if proxy is None else URL(proxy)
        self.request = aiohttp.ClientRequest("GET", URL(url), headers=headers, loop=loop, proxy=proxy_url)

    def __str__(self) -> str:
        return f"{self.request.url.host}{' through the proxy' if self.request.proxy else ''}"

    @cached_property
    def around_query(self) -> tuple[str, str]:
        """A request's text before and after its query; complete once connected: a proxy may add headers."""
        request = self.request
        address = str(request.url) if request.proxy and not request.is_ssl() else request.url.raw_path
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        if not all(header.isprintable() for header in headers):
            raise ValueError("a header cannot hold this")
        return f"GET {address}?", "\r\n".join([" HTTP/1.1", *headers, "", ""])


class Connector:
    """Opens connections, `limit` at most at a time, each within `seconds`; made on a running event loop."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._seconds = seconds
        self._connector = aiohttp.TCPConnector(limit=limit)
        self._timeout = aiohttp.ClientTimeout(connect=seconds, ceil_threshold=inf)

    async def connect(self, target: Target) -> Connection:
        """A new connection. Raises `UnavailableError` where there is none in time."""
        try:
            return Connection(await self._connector.connect(target.request, [], self._timeout))
        except TimeoutError:
            what = f"no connection to {target} within {self._seconds:g} s"
            raise UnavailableError(what, CONNECT_TIMEOUT) from None

    async def close(self) -> None:
        """Close every connection that is left."""
        await self._connector.close()


class Connection:
    """One connection; whoever holds it closes it."""

    __slots__ = ("_connection",)

    def __init__(self, connection: connector.Connection) -> None:
        self._connection = connection

    def is_open(self) -> bool:
        """Whether a request may be written: it is connected, and no unasked answer waits on it."""
        protocol = self._connection.protocol
        return protocol is not None and protocol.is_connected() and not protocol.should_close

    async def ask(self, request: bytes, max_body: int) -> Answer:
        """Write a request once and read its answer (not 1xx); `UnavailableError` for a longer body."""
        protocol, transport = self._connection.protocol, self._connection.transport
        assert protocol is not None  # noqa: S101 - the caller has checked that it is open
        assert transport is not None  # noqa: S101 - same
        # A new parser: the last one may hold the beginning of an answer that nobody asked for.
        protocol.set_response_params(
            read_until_eof=True,
            read_bufsize=_READ_AT_ONCE,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            max_headers=_MAX_HEADERS,
        )
        transport.write(request)
        message, content = await protocol.read()
        while 100 <= message.code < 200 and message.code != _SWITCHING_PROTOCOLS:
            message, content = await protocol.read()
        return Answer(message.code, message.headers, await _whole_body(content, max_body))

    def close(self, *, abort: bool = False) -> None:
        """Close it; with `abort` without waiting for what is still to be sent."""
        transport = self._connection.transport
        if abort and transport is not None:
            transport.abort()
        self._connection.close()


async def _whole_body(content: aiohttp.StreamReader, max_body: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := content.read_nowait() if content.is_eof() else await content.readany():
        size += len(chunk)
        if size > max_body:
            raise UnavailableError(f"the answer is larger than {max_body >> 20} MiB", "too large")
        chunks.append(chunk)
    return b"".join(chunks)


def cause_of(error: Exception) -> tuple[str, str]:
    """The kind of a network error, and what happened in none of the peer's words: they might hold the key."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        advice = ": are the user and password of https_proxy right?" if error.status == 407 else ""
        return "proxy", f"the proxy answered {error.status} instead of a connection{advice}"
    return _unconnected(error) if isinstance(error, aiohttp.ClientConnectorError) else _broken(error)


def _unconnected(error: aiohttp.ClientConnectorError) -> tuple[str, str]:
    where, why = f"{error.host}:{error.port}", _reason(error.os_error)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "DNS", f"the host name {error.host} cannot be resolved ({why}): is it right, does DNS work?"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return "proxy", f"no connection to the proxy {where} ({why})"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "TLS", f"the certificate of {where} cannot be trusted ({why})"
    if isinstance(error, aiohttp.ClientSSLError):
        return "TLS", f"no TLS connection to {where} ({why})"
    if error.errno == errno.ECONNREFUSED:
        return "connection refused", f"{where} refuses connections: are the address and its port right?"
    return _kind_of(error.os_error), f"no connection to {where} ({why})"


def _broken(error: Exception) -> tuple[str, str]:
    """What broke after a connection was there."""
    if isinstance(error, ssl.SSLError):
        return "TLS", f"TLS failed ({_reason(error)})"
    if isinstance(error, OSError):
        return _kind_of(error), f"the connection broke ({_reason(error)})"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.EofStream):
        return "connection closed", "the connection was closed before the answer"
    cause = error.__cause__
    name = type(error).__name__ + (f" ({type(cause).__name__})" if cause else "")
    if isinstance(error, ValueError):
        return "connection", f"no request can be sent: {name}; are --api-url and the proxy right?"
    return "malformed", f"no valid HTTP answer: {name}"


def _kind_of(error: OSError) -> str:
    # asyncio raises resets without a number, too.
    is_reset = error.errno in _RESET or isinstance(error, ConnectionResetError | BrokenPipeError)
    return "connection reset" if is_reset else "connection"


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionResetError) and not error.errno:
        return os.strerror(errno.ECONNRESET)
    if isinstance(error, ssl.SSLError) or not error.errno or error.errno < 0:
        return (error.strerror or type(error).__name__)[:160]
    return os.strerror(error.errno)
