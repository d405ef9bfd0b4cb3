"""The Django app of the live connections."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ConnectionsConfig(AppConfig):
    """Processes, their leases and their connections."""

    name = "realtime.engine.connections"
    label = "connections"
    verbose_name = _("Live connections")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the signal handlers, and let ``/readyz`` check that the database can be written."""
        from realtime.engine.connections import signals  # noqa: F401  models are loaded only now
        from realtime.engine.connections.lease import check_database
        from realtime.engine.monitoring.health import register_readiness_check
        from realtime.engine.services.database import DatabaseCheck

        register_readiness_check("database", DatabaseCheck(check_database))
