"""Why no answer came: a network error as a kind to count by, and a sentence for people."""

from __future__ import annotations

import errno
import os
import ssl

import aiohttp

PROXY = "proxy"
TIMEOUT = "timeout"
CONNECT_TIMEOUT = "connect timeout"

_RESET = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})


def cause_of(error: Exception) -> tuple[str, str]:
    """The kind of a network error, and what happened in none of the peer's words: they might hold the key."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        advice = ": are the user and password of https_proxy right?" if error.status == 407 else ""
        return PROXY, f"the proxy answered {error.status} instead of a connection{advice}"
    return _unconnected(error) if isinstance(error, aiohttp.ClientConnectorError) else _broken(error)


def _unconnected(error: aiohttp.ClientConnectorError) -> tuple[str, str]:
    where, why = f"{error.host}:{error.port}", _reason(error.os_error)
    kind, what = _kind_of(error.os_error), f"no connection to {where} ({why})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        kind, what = (
            "DNS",
            f"the host name {error.host} cannot be resolved ({why}): is it right, does DNS work?",
        )
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        kind, what = PROXY, f"no connection to the proxy {where} ({why})"
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        kind, what = "TLS", f"the certificate of {where} cannot be trusted ({why})"
    elif isinstance(error, aiohttp.ClientSSLError):
        kind, what = "TLS", f"no TLS connection to {where} ({why})"
    elif error.errno == errno.ECONNREFUSED:
        kind, what = "connection refused", f"{where} refuses connections: are the address and its port right?"
    return kind, what


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
    # asyncio raises some without a number.
    is_reset = error.errno in _RESET or isinstance(error, ConnectionResetError | BrokenPipeError)
    return "connection reset" if is_reset else "connection"


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionResetError) and not error.errno:
        return os.strerror(errno.ECONNRESET)
    if isinstance(error, ssl.SSLError) or not error.errno or error.errno < 0:
        return (error.strerror or type(error).__name__)[:160]
    return os.strerror(error.errno)
