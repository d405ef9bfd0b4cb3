"""An endpoint and a page that raise, with secrets at hand."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from realtime.engine import Message, PolicyConsumer


class FailingConsumer(PolicyConsumer):
    """Fails at each text, and in a handler of the channel layer at each binary message."""

    async def receive_message(self, message: Message) -> None:
        if message.is_binary:
            await self.channel_layer.send(self.channel_name, {"type": "some.work", "payload": message.as_bytes()})
            return
        content = message.as_str()
        raise RuntimeError(f"cannot work on {len(content)} characters with token={content}")

    async def some_work(self, event: dict[str, Any]) -> None:
        raise RuntimeError("cannot work on the event")


@csrf_exempt
def failing_page(request: HttpRequest) -> None:
    raise RuntimeError("no page")


urlpatterns = [path("fails/", failing_page)]
websocket_urlpatterns = [path("ws/fails/<slug:name>", FailingConsumer.as_asgi(), name="ws-fails")]
