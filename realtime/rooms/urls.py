"""HTTP routes of the rooms: pages, and the API below ``/api/``."""

from django.urls import path

from realtime.rooms import views

urlpatterns = [
    path("rooms/", views.rooms, name="rooms"),
    path("rooms/<slug:slug>/", views.room, name="room"),
    path("api/rooms/", views.RoomList.as_view(), name="api-rooms"),
    path("api/rooms/<slug:room>/", views.RoomView.as_view(), name="api-room"),
    path("api/rooms/<slug:room>/messages/", views.MessageList.as_view(), name="api-room-messages"),
    path("api/rooms/<slug:room>/memberships/", views.MembershipList.as_view(), name="api-room-memberships"),
    # A path, because an email address may contain a slash.
    path("api/rooms/<slug:room>/memberships/<path:user>/", views.MembershipView.as_view(), name="api-room-membership"),
]
