"""Messages over real connections, in the clear and by TLS: plain values; a wrong one ends its own alone."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed.protocol.core import dumps
from distributed.protocol.serialize import ToPickle, to_serialize

from crawler.cluster.comms import CommLink, listening, parts_of
from crawler.cluster.dask_cluster import security_of
from crawler.cluster.link import LinkError
from crawler.cluster.messages import MessageError
from crawler.options import DaskSettings


def certificates(folder: Path, name: str) -> DaskSettings:
    """Certificates of one authority, as the settings name them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    day = dt.timedelta(days=1)
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return DaskSettings(tls_ca_file=paths[0], tls_cert_file=paths[0], tls_key_file=paths[1])


async def echo(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("op") == "wrong":
        raise MessageError("wrong")
    await asyncio.sleep(message.get("wait", 0))
    return {"seen": message}


async def test_messages_are_answered_one_after_the_other_and_wrong_ones_end_their_connection_alone() -> None:
    security = security_of(DaskSettings())
    async with listening("tcp://127.0.0.1:0", "token", echo, security) as address:
        link, other = CommLink(address, "token", security), CommLink(address, "token", security)
        frame = bytes(range(256)) * 5000
        replies = await asyncio.gather(*(link.call({"n": n, "frame": frame}, 5) for n in range(3)))
        assert [reply["seen"]["n"] for reply in replies] == [0, 1, 2]
        assert replies[0]["seen"]["frame"] == frame
        assert (await other.call({"n": 9}, 5))["seen"] == {"n": 9}
        with pytest.raises(LinkError):
            await link.call({"op": "wrong"}, 5)
        assert (await link.call({"n": 4}, 5))["seen"] == {"n": 4}
        assert (await other.call({"n": 10}, 5))["seen"] == {"n": 10}
        link.close()
        other.close()


async def test_a_late_reply_is_not_taken_for_the_next_messages() -> None:
    security = security_of(DaskSettings())
    async with listening("tcp://127.0.0.1:0", "token", echo, security) as address:
        link = CommLink(address, "token", security)
        with pytest.raises(LinkError):
            await link.call({"n": 1, "wait": 0.3}, 0.05)
        assert (await link.call({"n": 2}, 5))["seen"] == {"n": 2}
        link.close()


async def test_a_message_without_the_token_is_not_handled() -> None:
    security, seen = security_of(DaskSettings()), list[Any]()

    async def note(message: dict[str, Any]) -> dict[str, Any]:
        seen.append(message)
        return {}

    async with listening("tcp://127.0.0.1:0", "token", note, security) as address:
        with pytest.raises(LinkError):
            await CommLink(address, "another", security).call({"n": 1}, 2)
        link = CommLink(address, "token", security)
        await link.call({"n": 2}, 2)
        link.close()
    assert seen == [{"n": 2}]


async def test_nobody_there_is_a_link_error() -> None:
    security = security_of(DaskSettings())
    async with listening("tcp://127.0.0.1:0", "token", echo, security) as address:
        pass
    with pytest.raises(LinkError):
        await CommLink(address, "token", security).call({"n": 1}, 2)


class Bomb:
    """What a hostile peer would have unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("something from the wire was unpickled",))


@pytest.mark.parametrize("wrap", [to_serialize, ToPickle])
async def test_nothing_from_the_wire_is_unpickled(wrap: Callable[[object], object]) -> None:
    """As Dask's own connections would send it, in a frame of ours and in one of theirs."""
    with pytest.raises(BaseException, match="unpickled"):
        pickle.loads(pickle.dumps(Bomb()))
    security = security_of(DaskSettings())
    async with listening("tcp://127.0.0.1:0", "token", echo, security) as address:
        _, host, port = parts_of(address)
        frames = b"".join(map(bytes, dumps({"op": "x", "bomb": wrap(Bomb())})))
        for content in (frames, struct.pack(">I", len(frames)) + frames, pickle.dumps(Bomb())):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(content)
            writer.write_eof()
            assert b"unpickled" not in await asyncio.wait_for(reader.read(), 5)
            writer.close()


async def test_a_message_beyond_all_sizes_ends_its_connection() -> None:
    security = security_of(DaskSettings())
    async with listening("tcp://127.0.0.1:0", "token", echo, security) as address:
        _, host, port = parts_of(address)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(struct.pack(">I", 2**32 - 1) + b"x" * 1000)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_tls_lets_only_those_in_that_the_authority_knows(tmp_path: Path) -> None:
    ours, theirs = certificates(tmp_path, "ours"), certificates(tmp_path, "theirs")
    async with listening("tls://127.0.0.1:0", "token", echo, security_of(ours)) as address:
        link = CommLink(address, "token", security_of(ours))
        assert (await link.call({"n": 1}, 5))["seen"] == {"n": 1}
        link.close()
        with pytest.raises(LinkError):
            await CommLink(address, "token", security_of(theirs)).call({"n": 1}, 5)
        plain = CommLink(address.replace("tls://", "tcp://"), "token", security_of(DaskSettings()))
        with pytest.raises(LinkError):
            await plain.call({"n": 1}, 2)
