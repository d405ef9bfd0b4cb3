"""What the project's settings say to the wire; it reads no settings by itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OPTIONS", "Options"]


@dataclass(slots=True)
class Options:
    """Options of this process.

    Args:
        drain_seconds: over how long a stopping server closes its sockets.
        trusted_proxies: number of reverse proxies whose ``X-Forwarded-For`` entries are believed.
        max_request_body: bytes of a request's body.
    """

    drain_seconds: float = 10
    trusted_proxies: int = 0
    max_request_body: int = 2_621_440


#: Set once, by ``realtime.engine.server.daphne.install()``.
OPTIONS = Options()
