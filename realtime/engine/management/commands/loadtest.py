"""``manage.py loadtest``: how much does this server bear."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.engine.testing.loadtest import SCENARIOS, Load, Plan, is_loopback, report

__all__ = ["Command"]


class Command(BaseCommand):
    """Opens many WebSockets to a server, and measures."""

    help = "Put load on a server of your own: manage.py loadtest ws://127.0.0.1:8000 --connections 2000."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the server, the scenario and its size."""
        parser.add_argument("url", help="ws:// or wss:// and host, with a path to use another than the scenario's")
        parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="echo")
        parser.add_argument("--connections", type=int, default=100, help="sockets to open (100)")
        parser.add_argument("--seconds", type=float, default=10, help="how long to send (10)")
        parser.add_argument(
            "--rate", type=float, default=1, help="messages of each writer in a second; 0: no pause (1)"
        )
        parser.add_argument("--size", type=int, default=100, help="bytes of an echoed message (100)")
        parser.add_argument("--room", default="lobby", help="the room of the scenario rooms (lobby)")
        parser.add_argument("--token", help="access token for the handshakes")
        parser.add_argument(
            "--allow-remote", action="store_true", help="also for a host that is not this machine, and is yours"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the load and print the report."""
        plan = self._plan(options)
        load = Load(plan)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(load.run(self._progress))
        self.stdout.write("\n" + report(load))
        if load.opened < plan.connections:
            raise CommandError(f"{plan.connections - load.opened} connections were not opened.")

    def _plan(self, options: dict[str, Any]) -> Plan:
        if options["connections"] < 1 or options["seconds"] <= 0 or options["rate"] < 0 or options["size"] < 0:
            raise CommandError("--connections and --seconds are over 0, --rate and --size not under.")
        try:
            is_local = is_loopback(options["url"])
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from None
        if not is_local and not options["allow_remote"]:
            raise CommandError(
                f"{options['url']} is not this machine. To load a server that belongs to others is an attack; "
                "if it is yours, say --allow-remote."
            )
        names = ("url", "scenario", "connections", "seconds", "rate", "size", "token", "room")
        return Plan(**{name: options[name] for name in names})

    def _progress(self, load: Load) -> None:
        errors = load.errors.total()
        self.stdout.write(
            f"\r{load.opened}/{load.plan.connections} open  {load.per_second[-1]:>8,} messages/s  {errors} errors ",
            ending="",
        )
        self.stdout.flush()
