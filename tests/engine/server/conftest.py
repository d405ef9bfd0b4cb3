"""Servers of every kind for the wire's tests: TCP and UNIX sockets, TLS, uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import http.client
import ipaddress
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import websockets.sync.client
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from realtime.engine.testing import ServerProcess

APPLICATION = "tests.engine.server.apps:application"
TIMEOUT = 20

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HEADERS = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


class WireServer:
    """A server process and the ways to talk to it."""

    def __init__(self, process: ServerProcess, *, unix: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.process = process
        self.unix = unix
        self.tls = tls

    def socket(self) -> socket.socket:
        """Return a connected socket, with TLS where the server has it."""
        if self.unix is not None:
            raw = socket.socket(socket.AF_UNIX)
            raw.connect(self.unix)
        else:
            raw = socket.create_connection(("127.0.0.1", self.process.port))
        raw.settimeout(TIMEOUT)
        return raw if self.tls is None else self.tls.wrap_socket(raw, server_hostname="localhost")

    def connect(
        self,
        path: str,
        *,
        policy: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return an open connection of the ``websockets`` client."""
        parameters = dict(query or {})
        if policy is not None:
            parameters["policy"] = json.dumps(policy)
        kwargs.setdefault("compression", None)
        kwargs.setdefault("max_size", None)
        kwargs.setdefault("ping_interval", None)
        address = f"ws://localhost{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        sock = self.socket() if self.tls is None else relayed(self.process.port, self.tls)
        kwargs.setdefault("open_timeout", TIMEOUT)
        return websockets.sync.client.connect(address, sock=sock, **kwargs)

    def request(self, head: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes and return status, headers and body of the answer."""
        with contextlib.closing(self.socket()) as sock:
            sock.sendall(head)
            return read_response(sock)

    def handshake(
        self, path: str = "/echo", *, headers: Mapping[str, str | None] | None = None, body: bytes = b"", line: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a valid handshake with some headers changed (None removes one)."""
        return self.request(handshake_bytes(path, headers=headers, body=body, line=line))

    def upgraded(
        self, path: str = "/echo", *, policy: Mapping[str, Any] | None = None, extra: bytes = b""
    ) -> socket.socket:
        """Return a raw socket after the handshake; ``extra`` is sent together with the request."""
        target = path if policy is None else f"{path}?{urlencode({'policy': json.dumps(policy)})}"
        sock = self.socket()
        sock.sendall(handshake_bytes(target) + extra)
        head = read_until(sock, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return sock

    def get(self, path: str) -> Any:
        """Return the JSON that the server answers a GET request with."""
        _, _, body = self.request(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return json.loads(body)

    def journal(self, wait: int = 1) -> Any:
        """Return and clear what the applications have noted, when there are ``wait`` entries."""
        return self.get(f"/journal?wait={wait}")


def relayed(port: int, tls: ssl.SSLContext) -> socket.socket:
    """Return a plain socket whose bytes a thread carries to and from a TLS server.

    The client of ``websockets.sync`` reads in one thread and writes in another; an ``SSLSocket`` does not allow that,
    and about one of a thousand handshakes was lost to it.
    """
    near, far = socket.socketpair()
    near.settimeout(TIMEOUT)
    threading.Thread(target=lambda: asyncio.run(_relay(far, port, tls)), daemon=True).start()
    return near


async def _relay(plain: socket.socket, port: int, tls: ssl.SSLContext) -> None:
    near_reader, near_writer = await asyncio.open_connection(sock=plain)
    with contextlib.closing(near_writer):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="localhost")
        with contextlib.closing(writer):
            await asyncio.gather(_carry(near_reader, writer), _carry(reader, near_writer))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def handshake_bytes(
    path: str = "/echo", *, headers: Mapping[str, str | None] | None = None, body: bytes = b"", line: str = ""
) -> bytes:
    fields = {**HEADERS, **(headers or {})}
    lines = [line or f"GET {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def read_response(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    response = http.client.HTTPResponse(sock)
    response.begin()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        byte = sock.recv(1)
        assert byte, data
        data += byte
    return data


@contextlib.contextmanager
def serving(
    kind: str, directory: Path, *, options: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> Iterator[WireServer]:
    """Serve the test applications by one kind of server."""
    daphne = (sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", "{port}")
    environment = {"DATABASE_URL": "sqlite://:memory:", "REALTIME_DRAIN_SECONDS": "1", **(env or {})}
    unix = tls = None
    match kind:
        case "asyncio":
            command = (*daphne, *options, APPLICATION)
        case "uvloop":
            command = (sys.executable, "-m", "project", *daphne[3:], *options, APPLICATION)
        case "unix":
            unix = str(directory / "wire.sock")
            command = (*daphne, "-u", unix, *options, APPLICATION)
        case "twisted":
            tls = ssl.create_default_context(cafile=str(certificate(directory)))
            files = f"privateKey={directory}/key.pem:certKey={directory}/cert.pem"
            endpoint = "ssl:{port}:interface=127.0.0.1:" + files
            command = (sys.executable, "-m", "daphne", "-e", endpoint, *options, APPLICATION)
        case "uvicorn":
            ws = "realtime.engine.server.uvicorn:WebSocketProtocol"
            command = (sys.executable, "-m", "uvicorn", "--ws", ws, "--port", "{port}", *options, APPLICATION)
    with ServerProcess(command, env=environment) as process:
        if unix is not None:
            wait_for_socket(unix)
        yield WireServer(process, unix=unix, tls=tls)


def wait_for_socket(path: str) -> None:
    """Wait until a UNIX socket is listened on; the server opens it after its TCP port."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock, contextlib.suppress(OSError):
            sock.connect(path)
            return
    raise RuntimeError(f"nothing listens on {path}")


def certificate(directory: Path) -> Path:
    """Write a self-signed certificate for localhost and return its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path = directory / "cert.pem"
    path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Start a server of some kind: ``with serve("asyncio") as server``."""
    return lambda kind, **kwargs: serving(kind, tmp_path_factory.mktemp(kind), **kwargs)


@pytest.fixture(scope="session", params=["asyncio", "uvloop", "unix", "twisted", "uvicorn"])
def any_server(request: pytest.FixtureRequest, serve: Any) -> Iterator[WireServer]:
    """Every kind of server, one after the other."""
    with serve(request.param) as server:
        yield server


@pytest.fixture(scope="session")
def _daphne(serve: Any) -> Iterator[WireServer]:
    with serve("asyncio") as server:
        yield server


@pytest.fixture
def server(_daphne: WireServer) -> WireServer:
    """Daphne with the wire, and an empty journal."""
    return rested(_daphne)


@pytest.fixture
def each(any_server: WireServer) -> WireServer:
    """Every kind of server, with an empty journal."""
    return rested(any_server)


def rested(server: WireServer) -> WireServer:
    """Wait until the connections of the last test have ended, and forget what was noted of them."""
    deadline = time.monotonic() + TIMEOUT
    while server.get("/statistics")["sessions"]:
        assert time.monotonic() < deadline, "the last test has left a connection"
    server.get("/journal")
    return server


@pytest.fixture(scope="session")
def at_rest() -> Any:
    """Wait for the end of a server's connections, and empty its journal."""
    return rested


@pytest.fixture(scope="session")
def response_of() -> Any:
    """Read an HTTP response from a socket: status, headers, body."""
    return read_response


@pytest.fixture(scope="session")
def frame() -> Any:
    """Make a masked client frame: ``frame(opcode, payload, fin=True)``."""
    return client_frame


def client_frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = b"\x11\x22\x33\x44"
) -> bytes:
    length = len(payload)
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    masked = 0x80 if mask is not None else 0
    if length < 126:
        head = first + bytes([masked | length])
    elif length < 65536:
        head = first + bytes([masked | 126]) + length.to_bytes(2, "big")
    else:
        head = first + bytes([masked | 127]) + length.to_bytes(8, "big")
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


@pytest.fixture(scope="session")
def read_frame() -> Any:
    """Read one unmasked server frame from a socket: opcode and payload; None at the end of the stream."""

    def read(sock: socket.socket) -> tuple[int, bytes] | None:
        head = _exactly(sock, 2)
        if not head:
            return None
        length = head[1] & 0x7F
        if length > 125:
            length = int.from_bytes(_exactly(sock, 2 if length == 126 else 8), "big")
        return head[0] & 0x0F, _exactly(sock, length)

    return read


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            assert not data, "the stream ended in the middle of a frame"
            return b""
        data += piece
    return data
