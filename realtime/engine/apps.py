"""The Django app of the engine."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EngineConfig(AppConfig):
    """Registers the system checks, installs the wire into Daphne, and prepares tracing and database connections."""

    name = "realtime.engine"
    label = "realtime_engine"
    verbose_name = _("Real time")

    def ready(self) -> None:
        """Import the checks, give every Daphne server of this process the wire, and what else holds for all of it."""
        from django.conf import settings

        from realtime.engine import checks as deployment_checks  # noqa: F401
        from realtime.engine.handshake import checks  # noqa: F401
        from realtime.engine.monitoring.tracing.setup import start
        from realtime.engine.server.daphne.factory import install
        from realtime.engine.services.database import close_connections_of_requests

        start()
        close_connections_of_requests()
        install(
            drain_seconds=settings.REALTIME_DRAIN_SECONDS,
            trusted_proxies=settings.REALTIME_TRUSTED_PROXIES,
            max_request_body=settings.REALTIME_MAX_REQUEST_BODY,
        )
