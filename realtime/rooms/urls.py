"""HTTP routes of the rooms: pages, and the API below ``/api/``."""

from django.urls import path

from realtime.rooms import api, views

__all__ = ["urlpatterns"]

urlpatterns = [
    path("rooms/", views.rooms, name="rooms"),
    path("rooms/<slug:slug>/", views.room, name="room"),
    path("api/rooms/", api.RoomList.as_view(), name="api-rooms"),
    path("api/rooms/<slug:room>/", api.RoomView.as_view(), name="api-room"),
    path("api/rooms/<slug:room>/messages/", api.MessageList.as_view(), name="api-room-messages"),
    path("api/rooms/<slug:room>/memberships/", api.MembershipList.as_view(), name="api-room-memberships"),
    path("api/rooms/<slug:room>/memberships/<str:username>/", api.MembershipView.as_view(), name="api-room-membership"),
]
