"""The adapter for uvicorn.

``uvicorn --ws realtime.engine.server.uvicorn:WebSocketProtocol project.asgi:application``
"""

from __future__ import annotations

import asyncio
from typing import Any, cast
from urllib.parse import unquote

from realtime.engine.monitoring.counters import UNROUTED, traffic_of
from realtime.engine.monitoring.logs import log_refusal
from realtime.engine.protocol.connection import Connection
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.protocol.http import Request, build_scope, parse_request, problem_answer, upgrade_problem
from realtime.engine.protocol.policy import Limits
from realtime.engine.server.asgi_connection import ASGIConnection
from realtime.engine.server.connection_metrics import ConnectionMetrics
from realtime.engine.server.drain import DRAIN, SHUTTING_DOWN

__all__ = ["WebSocketProtocol"]

#: uvicorn's own default for ``--ws-max-size``. Where it was left alone, this server's default applies.
UVICORN_DEFAULT_SIZE = 16 * 1024 * 1024
#: Seconds that the application has to answer the handshake; uvicorn has no option for it.
ANSWER_TIMEOUT = 20


class WebSocketProtocol(ASGIConnection):
    """The connection that uvicorn makes for each upgrade request, whose head it passes as the first data."""

    __slots__ = ("_app_state", "_config", "_server_state", "_started")

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        # The base class is initialised when the request has come.
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._started = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server_state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Start with the request head; what follows are frames."""
        if not self._started:
            head, end, data = data.partition(b"\r\n\r\n")
            self._answer(parse_request(head + end))
        if data and self._started:
            super().data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._server_state.connections.discard(self)
        if self._started:
            super().connection_lost(error)

    def shutdown(self) -> None:
        """Close every connection, one by one; uvicorn calls this on each of them when it stops."""
        if not DRAIN.draining:
            task = asyncio.get_running_loop().create_task(DRAIN.run(DRAIN.seconds))
            self._server_state.tasks.add(task)
            task.add_done_callback(self._server_state.tasks.discard)

    def _answer(self, request: Request) -> None:
        problem = upgrade_problem("GET", "1.1", request.headers)
        if problem is None and DRAIN.draining:
            problem = SHUTTING_DOWN
        if problem is not None:
            self._refuse(request, problem)
            return
        transport, scope = self._transport, self._scope_of(request)
        assert transport is not None
        now = asyncio.get_running_loop().time()
        connection = Connection(
            request,
            now,
            defaults=_limits(self._config),
            answer_timeout=ANSWER_TIMEOUT,
            headers=tuple(self._server_state.default_headers),
        )
        super().__init__(connection, ConnectionMetrics(scope, now))
        self._started = True
        super().connection_made(transport)
        self.start(self._config.loaded_app, scope)

    def _scope_of(self, request: Request) -> dict[str, Any]:
        assert self._transport is not None
        root_path = self._config.root_path
        scope = build_scope(
            request,
            scheme="wss" if self._transport.get_extra_info("sslcontext") else "ws",
            client=_address(self._transport.get_extra_info("peername")),
            server=_address(self._transport.get_extra_info("sockname")),
            root_path=root_path,
        )
        # uvicorn mounts the application: the path has the prefix.
        scope["path"] = root_path + unquote(request.path.decode("ascii"))
        scope["raw_path"] = root_path.encode("ascii") + request.path
        scope["state"] = self._app_state.copy()
        return scope

    def _refuse(self, request: Request, problem: HandshakeRejected) -> None:
        log_refusal(problem.status, problem.detail, request.path, request.headers)
        traffic_of(UNROUTED).handshakes[str(int(problem.status))] += 1
        assert self._transport is not None
        self._transport.write(problem_answer(problem.status, problem.detail, problem.headers))
        self._transport.close()


def _address(name: Any) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None


def _limits(config: Any) -> Limits:
    """Return the limits for an application that accepts without a policy."""
    size = config.ws_max_size
    return Limits(
        max_message_size=Limits().max_message_size if size == UVICORN_DEFAULT_SIZE else size,
        max_frame_size=Limits().max_frame_size if size == UVICORN_DEFAULT_SIZE else size,
        ping_interval=config.ws_ping_interval or None,
        ping_timeout=config.ws_ping_timeout or Limits().ping_timeout,
    )
