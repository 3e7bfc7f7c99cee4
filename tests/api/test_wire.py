"""What `crawler/api/wire.py` relies on in aiohttp: an upgrade that changes it is named here."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import aiohttp
import pytest
from aiohttp import client_proto, connector, http_exceptions, http_parser
from yarl import URL

from crawler.api import wire

ROOT = Path(__file__).parents[2]

PARAMETERS: list[tuple[str, Callable[..., object], set[str]]] = [
    ("ClientRequest()", aiohttp.ClientRequest, {"method", "url", "headers", "loop", "proxy"}),
    ("ClientTimeout()", aiohttp.ClientTimeout, {"connect", "ceil_threshold"}),
    ("TCPConnector()", aiohttp.TCPConnector, {"limit"}),
    (
        "ResponseHandler.set_response_params()",
        client_proto.ResponseHandler.set_response_params,
        {"read_until_eof", "read_bufsize", "max_line_size", "max_field_size", "max_headers"},
    ),
]
ATTRIBUTES: list[tuple[type, set[str]]] = [
    (connector.Connection, {"protocol", "transport", "close"}),
    (client_proto.ResponseHandler, {"is_connected", "should_close", "read"}),
    (http_parser.RawResponseMessage, {"code", "headers"}),
    (aiohttp.StreamReader, {"is_eof", "read_nowait", "readany"}),
]


def changed(what: str) -> str:
    return (
        f"aiohttp {version('aiohttp')} changed {what}, on which crawler/api/wire.py relies (tried with "
        f"{' to '.join(wire.TRIED_WITH)}): correct wire.py, or pin aiohttp below this version"
    )


@pytest.mark.parametrize(("name", "function", "needed"), PARAMETERS, ids=[name for name, _, _ in PARAMETERS])
def test_parameters_are_those_that_are_given(
    name: str, function: Callable[..., object], needed: set[str]
) -> None:
    missing = needed - inspect.signature(function).parameters.keys()
    assert not missing, changed(f"{name}: it has no parameter {', '.join(sorted(missing))}")


@pytest.mark.parametrize(("owner", "needed"), ATTRIBUTES, ids=[owner.__name__ for owner, _ in ATTRIBUTES])
def test_attributes_are_those_that_are_used(owner: type, needed: set[str]) -> None:
    fields = getattr(owner, "_fields", ())
    missing = {name for name in needed if not hasattr(owner, name) and name not in fields}
    assert not missing, changed(f"{owner.__name__}: it has no {', '.join(sorted(missing))}")


def test_connect_takes_request_traces_and_timeout_in_this_order() -> None:
    parameters = list(inspect.signature(aiohttp.TCPConnector.connect).parameters)
    assert parameters == ["self", "req", "traces", "timeout"], changed("the parameters of connect()")
    assert inspect.iscoroutinefunction(aiohttp.TCPConnector.connect), changed("connect(): it is no coroutine")
    assert inspect.iscoroutinefunction(client_proto.ResponseHandler.read), changed("read(): no coroutine")


async def test_a_request_knows_address_headers_and_proxy_before_it_is_sent() -> None:
    request = wire.Target("http://api.test/p", {"A": "1"}, "http://us:pw@proxy.test:1").request
    assert request.url == URL("http://api.test/p"), changed("ClientRequest.url")
    assert request.proxy == URL("http://us:pw@proxy.test:1"), changed("ClientRequest.proxy")
    assert request.headers.get("A") == "1", changed("ClientRequest.headers")
    assert request.headers.get("Host") == "api.test", changed("ClientRequest.headers: they lack the host")
    assert not request.is_ssl(), changed("ClientRequest.is_ssl()")


def test_every_error_of_aiohttp_that_ends_a_request_is_caught() -> None:
    errors = (aiohttp.ClientError, aiohttp.EofStream, http_exceptions.HttpProcessingError)
    uncaught = [error.__name__ for error in errors if not issubclass(error, wire.NO_ANSWER)]
    assert not uncaught, changed(f"its errors: {uncaught}")


def test_the_versions_tried_are_the_lowest_allowed_and_the_one_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = re.search(r"^aiohttp==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert (f"aiohttp>={wire.TRIED_WITH[0]}" in project["dependencies"], pinned[1]) == (
        True,
        wire.TRIED_WITH[1],
    )


def test_no_other_module_knows_the_less_public_parts() -> None:
    private = re.compile(
        r"aiohttp\.(client_proto|connector|client_reqrep|http_parser|http_exceptions)|ResponseHandler"
        r"|ClientRequest\b|from aiohttp import (?!web$)"
    )
    knowing = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "crawler").rglob("*.py")
        if any(private.search(line) for line in path.read_text().splitlines())
    ]
    assert knowing == ["crawler/api/wire.py"]
