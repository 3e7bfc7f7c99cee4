"""One message to one receiver: whatever the receiver does, it costs some seconds and one sentence."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from receivers import Answer, Receiver, drips, floods, hangs, in_turn, receiver, resets, says

from crawler.notify.posting import DeliveryError, Message, deliver

TIMEOUT = 1.0


async def sent(address: str, attempts: int = 3, seconds: float = TIMEOUT) -> None:
    await deliver(Message(address, b"said", "text/plain"), seconds, attempts)


async def test_a_message_is_a_post_with_its_body() -> None:
    with receiver(says(200)) as good:
        await sent(f"{good.address}/a%2Fb?token=x%2By")
    (request,) = good.requests
    assert (request.line, request.body) == ("POST /a%2Fb?token=x%2By HTTP/1.1", b"said")
    assert request.headers["content-type"] == "text/plain"
    assert request.headers["user-agent"].startswith("shop-video-crawler/")


@pytest.mark.parametrize("bad", [says(500), says(503), says(429), resets], ids=["500", "503", "429", "reset"])
async def test_what_may_pass_is_tried_again(bad: Answer) -> None:
    with receiver(in_turn(bad, says(200))) as one:
        await sent(one.address, seconds=4.0)
    assert len(one.requests) == 2


async def test_an_answer_that_will_not_change_is_not_asked_for_again() -> None:
    with receiver(says(404)) as one, pytest.raises(DeliveryError, match=r"^it answers 404 \(1 attempt\)$"):
        await sent(one.address)
    assert len(one.requests) == 1


async def test_who_never_answers_is_said_to_have_had_all_the_time() -> None:
    with (
        receiver(hangs) as one,
        pytest.raises(DeliveryError, match=r"no answer within [12]\S* s \(2 attempts\)"),
    ):
        await sent(one.address, attempts=2, seconds=1.6)


async def test_attempts_end() -> None:
    with receiver(says(500)) as one, pytest.raises(DeliveryError, match=r"it answers 500 \(2 attempts\)"):
        await sent(one.address, attempts=2, seconds=10.0)
    assert len(one.requests) == 2


@pytest.mark.parametrize("bad", [hangs, drips], ids=["hangs", "drips"])
async def test_who_does_not_answer_costs_the_time_out_and_no_more(bad: Answer) -> None:
    with receiver(bad) as one:
        began = time.monotonic()
        with pytest.raises(DeliveryError, match=r"no answer within \S+ s"):
            await sent(one.address)
        assert time.monotonic() - began < TIMEOUT + 0.5


@pytest.mark.parametrize(
    "liar",
    [
        says(200, b"\xff\x00{not json" * 100),
        says(204, b""),
        says(200, b"OK", "Content-Encoding: gzip"),
        floods,
    ],
    ids=["garbage", "empty", "no gzip", "endless"],
)
async def test_a_200_is_a_200_whatever_its_body_is(liar: Answer) -> None:
    with receiver(liar) as one:
        began = time.monotonic()
        await sent(one.address)
        assert time.monotonic() - began < TIMEOUT
    assert len(one.requests) == 1


async def test_healthchecks_says_in_a_200_that_it_knows_no_such_check() -> None:
    with (
        receiver(says(200, b"OK (not found)")) as one,
        pytest.raises(DeliveryError, match="it answers not found"),
    ):
        await sent(one.address)
    assert len(one.requests) == 1


def redirect(status: int, target: Callable[[Receiver], str]) -> Answer:
    def answer(one: Receiver, connection: socket.socket, number: int) -> None:
        says(status, b"", f"Location: {target(one)}")(one, connection, number)

    return answer


async def test_a_redirect_of_the_same_host_is_followed_with_the_message() -> None:
    with receiver(in_turn(redirect(301, lambda _: "/there?x=1"), says(200))) as one:
        await sent(f"{one.address}/here")
    assert [(request.path, request.body) for request in one.requests] == [
        ("/here", b"said"),
        ("/there?x=1", b"said"),
    ]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_leads_to_another_host(status: int) -> None:
    with receiver(says(200)) as stranger:
        elsewhere = stranger.address.replace("127.0.0.1", "localhost")
        for target in (
            elsewhere,
            stranger.address,
            "//[",
            "ftp://127.0.0.1/",
        ):
            answer = redirect(status, lambda _, target=target: target)  # type: ignore[misc]
            with receiver(answer) as one, pytest.raises(DeliveryError, match="redirects to another address"):
                await sent(one.address)
    assert stranger.requests == []


async def test_a_redirect_in_a_circle_ends() -> None:
    with (
        receiver(redirect(302, lambda one: one.address)) as one,
        pytest.raises(DeliveryError, match="redirects too often"),
    ):
        await sent(one.address)
    assert len(one.requests) == 4


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DeliveryError, match="refuses connections"):
        await sent(f"http://127.0.0.1:{port}/secret", attempts=2)


async def test_a_name_that_is_looked_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> None:
        time.sleep(3)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    with pytest.raises(DeliveryError, match="no answer within"):
        await sent("http://hooks.example/secret", attempts=1)
    assert time.monotonic() - began < TIMEOUT + 0.5


async def test_a_name_that_is_none() -> None:
    with pytest.raises(DeliveryError, match="cannot be resolved"):
        await sent("http://hooks.invalid/secret", attempts=1, seconds=20)


async def test_the_proxy_of_the_environment_is_used_but_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(says(200)) as proxy, receiver(says(200)) as local:
        monkeypatch.setenv("http_proxy", proxy.address.replace("http://", "http://user:pass123@"))
        await sent("http://hooks.example/secret")
        await sent(local.address)
    (request,) = proxy.requests
    assert request.line.startswith("POST http://hooks.example/secret ")
    assert request.headers["proxy-authorization"].startswith("Basic ")
    assert "pass123" not in request.body.decode()
    assert len(local.requests) == 1
    monkeypatch.setenv("http_proxy", "socks5://user:pass123@127.0.0.1:1")
    with pytest.raises(DeliveryError, match="not supported") as caught:
        await sent("http://hooks.example/secret")
    assert "pass123" not in str(caught.value)
