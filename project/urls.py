"""HTTP routes. WebSocket routes stand in realtime/routing.py, those of monitors in realtime/engine/middleware.py."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView, TemplateView
from django.views.i18n import JavaScriptCatalog, set_language
from drf_spectacular.views import SpectacularAPIView

from realtime.engine.describe.views import asyncapi_json

#: The apps whose texts scripts show.
OWN_APPS = [name for name in settings.INSTALLED_APPS if name.startswith("realtime.")]

urlpatterns = [
    path("", include("realtime.console.urls")),
    path("", include("realtime.rooms.urls")),
    path("", include("realtime.accounts.urls")),
    # The console has a page here, while there is one.
    path("", TemplateView.as_view(template_name="realtime/front.html"), name="front"),
    path("asyncapi.json", asyncapi_json, name="asyncapi"),
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}realtime/icon.svg"), name="favicon"),
    # Without a CSRF token, which would set a cookie on every page: another language harms nobody.
    path("language/", csrf_exempt(set_language), name="set_language"),
    path("language/texts.js", JavaScriptCatalog.as_view(packages=OWN_APPS), name="javascript-catalog"),
    path("admin/", admin.site.urls),
    path("api/", include("realtime.engine.auth.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
]
