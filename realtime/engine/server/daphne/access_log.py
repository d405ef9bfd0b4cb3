"""Daphne's access log without queries, which may carry tickets and tokens."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from daphne.access import AccessLogGenerator

from realtime.engine.monitoring.logs import log_action, without_query

__all__ = ["clean_access_log"]


def clean_access_log(server: Any) -> None:
    """Let a server's access log show paths only.

    Lines for standard output, where Daphne writes unless told otherwise, become log records like all others, in
    whatever format the project has chosen. ``daphne --access-log file`` still writes Daphne's own format.

    Args:
        server: Daphne's server, before it has served anything.
    """
    write = server.action_logger
    if isinstance(write, AccessLogGenerator) and write.stream is sys.stdout:
        write = log_action

    def log(protocol: str, action: str, details: Mapping[str, Any]) -> None:
        if write is not None:
            write(protocol, action, {**details, "path": without_query(details["path"])})

    server.log_action = log
