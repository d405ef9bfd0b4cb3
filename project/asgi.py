"""The ASGI application: ``daphne project.asgi:application``."""

import os

from django.conf import settings

from realtime.engine.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = get_asgi_application()

if settings.SENTRY_DSN:
    from realtime.engine.monitoring.sentry import SentryMiddleware

    application = SentryMiddleware(application)
