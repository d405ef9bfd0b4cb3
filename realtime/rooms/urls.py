"""HTTP routes of the rooms, under ``/api/``."""

from django.urls import path

from realtime.rooms import api

__all__ = ["urlpatterns"]

urlpatterns = [
    path("rooms/", api.RoomList.as_view(), name="api-rooms"),
    path("rooms/<slug:room>/", api.RoomView.as_view(), name="api-room"),
    path("rooms/<slug:room>/messages/", api.MessageList.as_view(), name="api-room-messages"),
    path("rooms/<slug:room>/memberships/", api.MembershipList.as_view(), name="api-room-memberships"),
    path("rooms/<slug:room>/memberships/<str:username>/", api.MembershipView.as_view(), name="api-room-membership"),
]
