"""The proxy between us and the API: which one the environment names, checked before anything is sent."""

from __future__ import annotations

import os
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from crawler.models.api import is_loopback
from crawler.models.errors import InputError


def proxy_for(url: str) -> str | None:
    """The proxy for requests to `url`; None for loopback, the hosts of `no_proxy`, and where none is set.

    `https_proxy` or `http_proxy`, by the URL's scheme, comes before `all_proxy`. Without a scheme it is http.
    Raises `InputError` where the proxy cannot be used.
    """
    target = urlsplit(url)
    if is_loopback(target.hostname or "") or _is_excepted(target):
        return None
    proxies = getproxies()
    kind = target.scheme if proxies.get(target.scheme) else "all"
    proxy = proxies.get(kind, "").strip()
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if fault := _fault(proxy):
        variable = f"{kind}_proxy" if os.environ.get(f"{kind}_proxy") else f"{kind}_proxy".upper()
        raise InputError(
            f"the proxy in {variable} cannot be used: {fault}; set it as http://host:port, "
            f"or add {target.hostname} to no_proxy"
        )
    return proxy


def _is_excepted(target: SplitResult) -> bool:
    without_port, with_port = target.hostname or "", target.netloc.rpartition("@")[2]
    return bool(proxy_bypass(without_port) or proxy_bypass(with_port))


def _fault(proxy: str) -> str | None:
    """What is wrong with a proxy's URL, in words that hold no part of its password."""
    if not proxy.isprintable() or " " in proxy or "\\" in proxy:
        return "its address holds blanks, control characters or \\"
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme not in ("http", "https"):
        return f"{parts.scheme}:// is not supported, only http:// and https://"
    if not host:
        return "it names no host"
    return None if port else "it names no port"
