"""Receivers on loopback that answer well, fail, hang, drip, redirect or lie, and keep what they were sent."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Answer = Callable[["Receiver", socket.socket, int], None]


@dataclass
class Request:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> str:
        return self.line.split()[1]


@dataclass
class Receiver:
    """Takes each request whole, then answers it as `answer` says; the number counts from 1."""

    answer: Answer
    requests: list[Request] = field(default_factory=list)
    address: str = ""
    closing: threading.Event = field(default_factory=threading.Event)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def paths(self) -> list[str]:
        return [request.path.partition("?")[0] for request in self.requests]

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.take, args=(connection,), daemon=True).start()

    def take(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(20)
            received = b""
            while b"\r\n\r\n" not in received:
                if not (chunk := connection.recv(65536)):
                    return
                received += chunk
            head, _, body = received.partition(b"\r\n\r\n")
            line, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
            }
            while len(body) < int(headers.get("content-length", 0)):
                body += connection.recv(65536)
            self.requests.append(Request(line, headers, body))
            self.answer(self, connection, len(self.requests))


@contextmanager
def receiver(answer: Answer) -> Iterator[Receiver]:
    one = Receiver(answer)
    one.address = f"http://127.0.0.1:{one.listener.getsockname()[1]}"
    thread = threading.Thread(target=one.serve, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        one.closing.set()
        one.listener.shutdown(socket.SHUT_RDWR)
        one.listener.close()
        thread.join(5)


def says(status: int, body: bytes = b"OK", *headers: str) -> Answer:
    def answer(_receiver: Receiver, connection: socket.socket, _number: int) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """The first request gets the first answer; what comes after the last gets the last."""

    def answer(receiver: Receiver, connection: socket.socket, number: int) -> None:
        answers[min(number, len(answers)) - 1](receiver, connection, number)

    return answer


def by_path(**answers: Answer) -> Answer:
    """By the last part of the path; `other` for the rest."""

    def answer(receiver: Receiver, connection: socket.socket, number: int) -> None:
        last = receiver.requests[number - 1].path.partition("?")[0].rpartition("/")[2]
        answers.get(last, answers["other"])(receiver, connection, number)

    return answer


def hangs(receiver: Receiver, _connection: socket.socket, _number: int) -> None:
    receiver.closing.wait(60)


def drips(receiver: Receiver, connection: socket.socket, _number: int) -> None:
    """A byte of a header at a time, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not receiver.closing.wait(0.1):
        connection.sendall(b"H")


def floods(receiver: Receiver, connection: socket.socket, _number: int) -> None:
    """A body without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not receiver.closing.is_set():
        connection.sendall(b"x" * 65536)


def resets(_receiver: Receiver, connection: socket.socket, _number: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
