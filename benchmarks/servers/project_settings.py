"""The project's settings, with two more endpoints: a plain echo and a typed one."""

from __future__ import annotations

from project.settings import *  # noqa: F403

REALTIME_ROUTING = "benchmarks.servers.project_routing"
