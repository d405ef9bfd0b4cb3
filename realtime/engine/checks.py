"""System checks of a deployment: ``manage.py check --deploy`` reports what only shows once the site is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core import checks
from django.core.files.storage import FileSystemStorage


@checks.register("realtime", deploy=True)
def check_static_files(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """The static files are where the server reads them."""
    # A development server reads the apps' own files. A storage that is not a folder cannot be looked into.
    if settings.DEBUG or not apps.is_installed("django.contrib.staticfiles"):
        return []
    if not isinstance(staticfiles_storage, FileSystemStorage):
        return []
    folder = Path(settings.STATIC_ROOT) if settings.STATIC_ROOT else None
    if folder is not None and folder.is_dir() and any(folder.iterdir()):
        return []
    return [
        checks.Warning(
            f"There are no files in STATIC_ROOT ({folder}): style sheets and scripts are answered with 404.",
            hint="Run 'manage.py collectstatic --noinput' after each change of the code, before the server starts.",
            id="realtime.W004",
        )
    ]


@checks.register("realtime", deploy=True)
def check_proxies(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """The number of proxies agrees with what the site believes of a request."""
    believes_scheme = settings.SECURE_PROXY_SSL_HEADER is not None
    if settings.SECURE_SSL_REDIRECT and not believes_scheme:
        return [
            checks.Warning(
                "SECURE_SSL_REDIRECT is on and no proxy is trusted: behind a proxy that ends TLS, every page "
                "redirects to itself.",
                hint="Set REALTIME_TRUSTED_PROXIES to the number of proxies in front of the server. Where the server "
                "ends TLS itself, silence this check.",
                id="realtime.W005",
            )
        ]
    if believes_scheme and not settings.REALTIME_TRUSTED_PROXIES:
        return [
            checks.Warning(
                "SECURE_PROXY_SSL_HEADER is set and REALTIME_TRUSTED_PROXIES is 0: the site believes anybody's header, "
                "and takes all clients of a proxy for one address.",
                hint="Set REALTIME_TRUSTED_PROXIES to the number of proxies, or remove SECURE_PROXY_SSL_HEADER.",
                id="realtime.W006",
            )
        ]
    return []
