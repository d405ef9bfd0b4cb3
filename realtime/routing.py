"""The WebSocket routes. A trailing slash makes no difference."""

from django.urls import path

from realtime.console.consumers import MonitorConsumer
from realtime.endpoints.any_protocol import AnyProtocolConsumer
from realtime.endpoints.authenticated import AuthenticatedConsumer
from realtime.endpoints.chat import ChatConsumer
from realtime.endpoints.echo import EchoConsumer
from realtime.endpoints.heartbeat import HeartbeatConsumer
from realtime.endpoints.messages import MessagesConsumer
from realtime.endpoints.policy import PolicyEchoConsumer
from realtime.endpoints.query import QueryConsumer
from realtime.endpoints.rooms import RoomsConsumer

websocket_urlpatterns = [
    path("ws", EchoConsumer.as_asgi(), name="ws-echo"),
    path("ws/connect", QueryConsumer.as_asgi(), name="ws-connect"),
    path("ws/auth", AuthenticatedConsumer.as_asgi(), name="ws-auth"),
    path("ws/chat", ChatConsumer.as_asgi(), name="ws-chat"),
    path("ws/rooms", RoomsConsumer.as_asgi(), name="ws-rooms"),
    path("ws/rooms/<slug:room>", RoomsConsumer.as_asgi(), name="ws-room"),
    path("ws/heartbeat", HeartbeatConsumer.as_asgi(), name="ws-heartbeat"),
    path("ws/messages", MessagesConsumer.as_asgi(), name="ws-messages"),
    path("ws/policy", PolicyEchoConsumer.as_asgi(), name="ws-policy"),
    path("ws/any-protocol", AnyProtocolConsumer.as_asgi(), name="ws-any-protocol"),
    path("ws/admin/live", MonitorConsumer.as_asgi(), name="ws-admin-live"),
]
