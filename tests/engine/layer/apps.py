"""A consumer that joins and leaves a group as it is told; ``daphne tests.engine.layer.apps:application`` serves it."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402

from realtime.engine.consumers.consumer import PolicyConsumer  # noqa: E402

#: A test does not wait for ten seconds until a group without members is unsubscribed.
settings.CHANNEL_LAYERS["default"]["CONFIG"]["timing"] = {"linger": 0}


class Member(PolicyConsumer):
    """A member of ``group``: "join" and "leave" are commands, anything else is for the members."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        match text_data:
            case "join":
                await self.join("group")
            case "leave":
                await self.leave("group")
            case _:
                await self.broadcast("group", text=text_data, include_self=True)


application = Member.as_asgi()
