"""The way in: every check between a request and its acceptance, in one straight line."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import InterfaceError, InternalError, OperationalError
from redis.exceptions import RedisError

from realtime.engine.auth import Authentication, Identity, identify
from realtime.engine.auth.limits import check_handshakes, take_place
from realtime.engine.connections.slots import Place
from realtime.engine.errors import HandshakeRejected, UpstreamUnavailable
from realtime.engine.handshake.origin import check_host, check_origin, parse_query
from realtime.engine.policy import SocketPolicy
from realtime.engine.protocol.upgrade import offered_subprotocols

__all__ = ["OUTAGES", "RETRY_AFTER", "Admission", "admit", "unavailable"]

logger = logging.getLogger("realtime.handshake")

#: The database, the cache or the channel layer is away: not this request's fault, and worth another try.
#: PostgreSQL tells by an InternalError that it can only be read, as after a change of servers.
OUTAGES = (OperationalError, InterfaceError, InternalError, RedisError, UpstreamUnavailable)

#: Seconds after which a client should come back after an outage.
RETRY_AFTER = 5


@dataclass(frozen=True, slots=True)
class Admission:
    """What the checks have found.

    Args:
        identity: the user, and until when.
        query: the parsed query string; None where the endpoint asks for none.
        subprotocol: the selected subprotocol; None for none.
        place: what the connection holds of its user's and its address's limits, to be given back at its end.
    """

    identity: Identity
    query: Any
    subprotocol: str | None
    place: Place


async def admit(
    scope: Mapping[str, Any],
    *,
    policy: SocketPolicy,
    query_type: type[msgspec.Struct] | None,
    authentication: Authentication,
) -> Admission:
    """Make every check that an endpoint asks for, the cheap ones first.

    Args:
        scope: the ASGI scope of the handshake.
        policy: origins and subprotocols.
        query_type: the struct of the query string, None to ignore it.
        authentication: whether the endpoint asks who its client is.

    Raises:
        HandshakeRejected: with the status of the first check that failed.
    """
    check_host(scope)
    await check_handshakes(scope)
    check_origin(scope, policy)
    query = None if query_type is None else parse_query(scope, query_type)
    identity = await identify(scope, authentication)
    subprotocol = policy.select_subprotocol(offered_subprotocols(scope))
    # The last check, because from here on the place has to be given back.
    place = await take_place(scope, identity.user.pk)
    return Admission(identity, query, subprotocol, place)


def unavailable(error: BaseException) -> HandshakeRejected:
    """Return the answer to a handshake that failed because of one of the ``OUTAGES``."""
    logger.error("a handshake needs a service that is away: %s: %s", type(error).__name__, error)
    return HandshakeRejected(
        503,
        "A service that this endpoint needs is not available at the moment; try again.",
        headers=[("Retry-After", str(RETRY_AFTER))],
    )
