"""The project with compression on ``/ws``: ``daphne tests.soak.compressed:application``."""

from dataclasses import replace

from project.asgi import application
from realtime.endpoints.echo import EchoConsumer

__all__ = ["application"]

EchoConsumer.policy = replace(EchoConsumer.policy, compression=True)
