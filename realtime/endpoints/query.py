"""``/ws/connect?user_id=7&name=ann``: typed query parameters, parsed before the upgrade."""

from __future__ import annotations

from typing import Annotated

import msgspec

from realtime.endpoints.echo import EchoConsumer

__all__ = ["ConnectQuery", "QueryConsumer"]


class ConnectQuery(msgspec.Struct):
    """The query string of a handshake; anything missing or malformed is answered with 400."""

    user_id: Annotated[int, msgspec.Meta(ge=0, description="a non-negative integer", examples=[7])]
    name: Annotated[str, msgspec.Meta(description="any text", examples=["ann"])]


class QueryConsumer(EchoConsumer):
    """Parses ``user_id`` and ``name`` before the upgrade, then echoes."""

    query_type = ConnectQuery
