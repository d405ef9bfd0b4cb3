"""The WebSocket route of the console; realtime/routing.py includes it."""

from django.urls import path

from realtime.console.consumers import MonitorConsumer

__all__ = ["websocket_urlpatterns"]

websocket_urlpatterns = [
    path("ws/admin/live", MonitorConsumer.as_asgi(), name="ws-admin-live"),
]
