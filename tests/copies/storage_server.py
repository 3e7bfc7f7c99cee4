"""An S3 server for tests: moto's, with a proxy before it that can fail, throttle, hang, or watch."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote

import orjson
from pyarrow import fs

BUCKET = "lake"
HANG_S = 30.0
_HOP = {"connection", "transfer-encoding", "content-length", "expect"}


@dataclass
class Storage:
    """The address of the server and of the proxy, and what passed it.

    `fault` is asked for each request, with its method, its path and its number from 1: it returns a status to
    answer with, "hang", or None to pass it on. `after` is called once it was answered.
    """

    server: str
    proxy: str = ""
    fault: Callable[[str, str, int], int | str | None] = lambda _method, _path, _number: None
    after: Callable[[str, str], None] = lambda _method, _path: None
    seen: list[str] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    @property
    def puts(self) -> list[str]:
        """The names of the objects that were written, below the bucket."""
        return [line.removeprefix(f"PUT /{BUCKET}/") for line in self.seen if line.startswith("PUT")]

    def files(self) -> fs.S3FileSystem:
        return fs.S3FileSystem(
            access_key="k",
            secret_key="s",
            region="us-east-1",
            scheme="http",
            endpoint_override=self.server.removeprefix("http://"),
            allow_bucket_creation=True,
        )

    def objects(self, folder: str = "") -> dict[str, int]:
        """The objects below a folder of the bucket, with their sizes."""
        root = "/".join(filter(None, (BUCKET, folder)))
        found = self.files().get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
        return {info.path.removeprefix(f"{root}/"): info.size for info in found if info.is_file}

    def content(self, name: str) -> bytes:
        with self.files().open_input_stream(f"{BUCKET}/{name}") as stream:
            return bytes(stream.read())

    def manifest(self, folder: str) -> dict[str, Any]:
        manifest: dict[str, Any] = orjson.loads(self.content(f"{folder}/manifest.json"))
        return manifest


@contextmanager
def serving() -> Iterator[Storage]:
    """Serve a bucket until the block ends."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - half a second

    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    storage = Storage(f"http://{host}:{port}")
    storage.files().create_dir(BUCKET)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(storage, host, port))
    server.daemon_threads = True
    storage.proxy = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield storage
    finally:
        server.shutdown()
        server.server_close()
        moto.stop()


def _handler(storage: Storage, host: str, port: int) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one class
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)

        def _pass(self) -> None:
            method, path = self.command, unquote(self.path.partition("?")[0])
            body = self._body()
            with storage.lock:
                storage.seen.append(f"{method} {path}")
                number = len(storage.seen)
            fault = storage.fault(method, path, number)
            if fault == "hang":
                time.sleep(HANG_S)
                return
            if fault is not None:
                self.send_response(int(fault))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            upstream = http.client.HTTPConnection(host, port, timeout=20)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            upstream.request(method, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if method == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()
            storage.after(method, path)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815 - the names that the base calls

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return Handler
