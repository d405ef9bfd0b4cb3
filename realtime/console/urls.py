"""HTTP routes of the console. They come before the admin's, which would take ``/admin/live/``."""

from django.contrib import admin
from django.urls import path

from realtime.console import views

urlpatterns = [
    path("", views.home, name="home"),
    path("api/docs/", views.reference, name="reference"),
    path("admin/live/", admin.site.admin_view(views.live), name="admin-live"),
]
