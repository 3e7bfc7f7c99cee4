"""Deliveries that break, crawl or never end: how a page's body is sent, or is not."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web

HUGE = 200 * 1024 * 1024
"""Bytes of a huge body."""

_BLOCK = 64 * 1024
_HOUR = 3600.0

Deliver = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]
"""Sends a page's body its own way; raises `ConnectionError` once the client has gone."""


async def reset(request: web.BaseRequest, _body: bytes) -> web.StreamResponse:
    """Reset the connection before any answer."""
    connection = None if request.transport is None else request.transport.get_extra_info("socket")
    if connection is not None:
        # Closing without lingering is what makes TCP send a reset in place of an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return _hung_up(request, web.StreamResponse())


async def cut(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Send half of the body, then close."""
    response = await _begun(request, len(body))
    await response.write(body[: len(body) // 2])
    return _hung_up(request, response)


async def hang(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Send the headers, then nothing for an hour."""
    response = await _begun(request, len(body))
    await asyncio.sleep(_HOUR)
    return _hung_up(request, response)


def paced(size: int, pause: float) -> Deliver:
    """Send `size` bytes at a time, `pause` seconds after each."""

    async def deliver(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = await _begun(request, len(body))
        for start in range(0, len(body), size):
            await response.write(body[start : start + size])
            await asyncio.sleep(pause)
        return response

    return deliver


async def endless(request: web.BaseRequest, _body: bytes) -> web.StreamResponse:
    """Send chunks for ever."""
    response = await _begun(request, None)
    while True:
        await response.write(b"x" * _BLOCK)


async def endless_headers(request: web.BaseRequest, _body: bytes) -> web.StreamResponse:
    """Send header lines for ever."""
    await request.writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        await request.writer.write(b"X-Junk: xxxxxxxx\r\n" * 1024)


async def huge(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Send the page with blanks before its last brace, `HUGE` bytes in all: it is still JSON."""
    response = await _begun(request, HUGE)
    await response.write(body[:-1])
    for start in range(len(body), HUGE, _BLOCK):
        await response.write(b" " * min(_BLOCK, HUGE - start))
    await response.write(body[-1:])
    return response


async def _begun(request: web.BaseRequest, length: int | None) -> web.StreamResponse:
    """An answer whose headers are out: `length` bytes are to follow, or chunks where it is None."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    if length is None:
        response.enable_chunked_encoding()
    else:
        response.content_length = length
    await response.prepare(request)
    return response


def _hung_up(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response
