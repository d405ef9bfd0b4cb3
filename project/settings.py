"""Settings: the environment turned into values.

Nothing has to be set in development. Production is switched on by ``DJANGO_SECRET_KEY``: with it, ``DEBUG`` is off
and every security setting is on, unless the environment says otherwise. docs/settings.md lists all variables.
"""

from __future__ import annotations

import datetime
import os
import secrets
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from project.name import NAME
from realtime.engine.defaults import database_settings, email_settings, hosts_of_this_machine, logging_settings

BASE_DIR = Path(__file__).resolve().parent.parent

#: Every variable can also be given as a file: DJANGO_SECRET_KEY_FILE=/run/secrets/key.
env = environ.FileAwareEnv()
if (BASE_DIR / ".env").is_file():
    env.read_env(BASE_DIR / ".env")

#: What pages and emails call this site.
SITE_NAME = env.str("SITE_NAME", default=NAME)

# Security

HOW_TO_MAKE_A_KEY = (
    "Set it to a long random value: python -c 'import secrets; print(secrets.token_urlsafe(64))'. "
    "For development, leave it out altogether."
)

SECRET_KEY = env.str("DJANGO_SECRET_KEY", default="").strip()
if not SECRET_KEY and {"DJANGO_SECRET_KEY", "DJANGO_SECRET_KEY_FILE"} & os.environ.keys():
    raise ImproperlyConfigured(f"DJANGO_SECRET_KEY is set, and empty. {HOW_TO_MAKE_A_KEY}")
DEBUG = env.bool("DJANGO_DEBUG", default=not SECRET_KEY)
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(f"DJANGO_DEBUG is off and DJANGO_SECRET_KEY is not set. {HOW_TO_MAKE_A_KEY}")
    # The first `make run` writes a key into .env. Without one, this process and those that it starts have their own.
    os.environ["DJANGO_DEVELOPMENT_KEY"] = env.str("DJANGO_DEVELOPMENT_KEY", default="") or secrets.token_urlsafe(48)
    # With the directory, because a copy of it may have brought the file along.
    SECRET_KEY = f"{os.environ['DJANGO_DEVELOPMENT_KEY']}@{BASE_DIR}"

ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=[])
# What `make run HOST=...` listens on, where that is not this machine alone.
if DEBUG and not ALLOWED_HOSTS and (development_host := env.str("DJANGO_DEVELOPMENT_HOST", default="")):
    ALLOWED_HOSTS = hosts_of_this_machine(development_host)
CSRF_TRUSTED_ORIGINS = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", default=[])

#: Number of reverse proxies in front of the server whose X-Forwarded-* headers are believed.
REALTIME_TRUSTED_PROXIES = env.int("REALTIME_TRUSTED_PROXIES", default=0)
if REALTIME_TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

#: Whether /readyz and /metrics answer a request that came through a proxy. Off where no nginx of ours hides them.
REALTIME_PUBLIC_MONITORS = env.bool("REALTIME_PUBLIC_MONITORS", default=True)

if not DEBUG:
    SECURE_SSL_REDIRECT = env.bool("DJANGO_SECURE_SSL_REDIRECT", default=True)
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
    # Browsers do not forget it before its time: an hour, as Django advises to begin with, for this host name alone.
    SECURE_HSTS_SECONDS = env.int("DJANGO_SECURE_HSTS_SECONDS", default=3600)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("DJANGO_SECURE_HSTS_INCLUDE_SUBDOMAINS", default=False)
    SECURE_HSTS_PRELOAD = env.bool("DJANGO_SECURE_HSTS_PRELOAD", default=False)
    # These ask for the last two. Both speak for other sites under the same domain, which this one knows nothing of.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
    #: Off only for a site without TLS, such as one on a machine of one's own.
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("DJANGO_SECURE_COOKIES", default=True)
#: Everything comes from this site, nothing is inline. 'self' in connect-src includes ws: and wss: of
#: the same host (CSP level 3). The admin needs data: for its icons.
SECURE_CSP = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "font-src": ["'self'"],
    "connect-src": ["'self'"],
    "manifest-src": ["'self'"],
    "form-action": ["'self'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
}

# Applications

INSTALLED_APPS = [
    "daphne",  # first: its runserver serves ASGI
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "realtime.engine",
    "realtime.engine.auth",
    "realtime.engine.connections",
    "realtime.engine.topics",
    "realtime.accounts",
    "realtime.rooms",
    "realtime.console",
]

MIDDLEWARE = [
    "realtime.engine.middleware.MonitorMiddleware",  # first: monitors ask by address, and while services hang
    "realtime.engine.middleware.ProblemMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "realtime.engine.middleware.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "realtime.engine.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "realtime.engine.auth.backends.TooManyAttemptsMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
#: The module whose ``websocket_urlpatterns`` lead to the WebSocket endpoints.
REALTIME_ROUTING = "realtime.routing"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["project.template_tags"],
        },
    },
]

# Database

DATABASES = {
    "default": database_settings(
        env.db_url("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}"),
        conn_max_age=env.int("DATABASE_CONN_MAX_AGE", default=60),
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Redis: unset, everything lives in one process; set, any number of processes share it

REDIS_URL = env.str("REDIS_URL", default="")
#: How many server processes the deployment starts; several need REDIS_URL, and `manage.py check` says so.
WEB_CONCURRENCY = env.int("WEB_CONCURRENCY", default=1)
CHANNEL_LAYERS: dict[str, Any] = {"default": {"BACKEND": "realtime.engine.layer.FanoutChannelLayer"}}
#: Django's bound of 300 entries would let an anonymous client push out counts and used tickets.
LOCAL_CACHE = {
    "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
    "OPTIONS": {"MAX_ENTRIES": 100_000},
}
#: "limits" is what limits count in.
CACHES: dict[str, Any] = {"default": LOCAL_CACHE, "limits": LOCAL_CACHE}
if REDIS_URL:
    #: Several servers, separated by commas, share the groups among them; docs/layers.md shows Sentinel.
    REDIS_HOSTS = REDIS_URL.split(",")
    CHANNEL_LAYERS["default"]["CONFIG"] = {"hosts": REDIS_HOSTS}
    # The first one only: Django takes further servers for replicas.
    CACHES["default"] = {"BACKEND": "realtime.engine.services.cache.SharedRedisCache", "LOCATION": REDIS_HOSTS[0]}
    CACHES["limits"] = {"BACKEND": "realtime.engine.services.cache.LimitCache", "LOCATION": REDIS_HOSTS[0]}

# Users and tokens

AUTH_USER_MODEL = "accounts.User"
#: Whether people may register. Off in production unless the environment says otherwise.
ACCOUNTS_REGISTRATION = env.bool("ACCOUNTS_REGISTRATION", default=DEBUG)
#: Limits wrong passwords, at every door.
AUTHENTICATION_BACKENDS = ["realtime.engine.auth.backends.PasswordBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
#: Seconds for which a link to a new password works. Django's own is three days, in which others may read the mailbox.
PASSWORD_RESET_TIMEOUT = 3600

#: How emails are sent, such as links to a new password; development prints them.
vars().update(email_settings(env.email_url("EMAIL_URL", default="consolemail://" if DEBUG else "smtp://localhost:25")))
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="webmaster@localhost")

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "realtime.engine.auth.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["realtime.engine.rest.exceptions.JSONParser"],
    "EXCEPTION_HANDLER": "realtime.engine.rest.exceptions.exception_handler",
    # Requests to /api/rooms/ by one user, or by the anonymous users of one address.
    "DEFAULT_THROTTLE_RATES": {"rooms": "600/min"},
    # Whose address counts for a throttle: the last that a trusted proxy has seen.
    "NUM_PROXIES": REALTIME_TRUSTED_PROXIES,
    "DEFAULT_SCHEMA_CLASS": "realtime.engine.rest.schema.Schema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Rooms",
    "VERSION": "1",
    "DESCRIPTION": "Rooms, messages, tokens and tickets. /asyncapi.json describes the WebSocket endpoints.",
    "LICENSE": {"name": "MIT", "url": "https://opensource.org/license/mit"},
    "SERVERS": [{"url": "/", "description": "This site."}],
}
SIMPLE_JWT = {
    "TOKEN_OBTAIN_SERIALIZER": "realtime.engine.auth.serializers.PairSerializer",
    "TOKEN_REFRESH_SERIALIZER": "realtime.engine.auth.serializers.RefreshSerializer",
    "TOKEN_VERIFY_SERIALIZER": "realtime.engine.auth.serializers.VerifySerializer",
    "ACCESS_TOKEN_LIFETIME": datetime.timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": datetime.timedelta(days=7),
}

# Requests

#: Bytes of a request's body, 413 beyond them, before it is read. Raise it for a site that takes uploads.
REALTIME_MAX_REQUEST_BODY = env.int("REALTIME_MAX_REQUEST_BODY", default=2_621_440)
#: What a view reads into memory at once; form fields, without files.
DATA_UPLOAD_MAX_MEMORY_SIZE = min(2_621_440, REALTIME_MAX_REQUEST_BODY)

# Real-time endpoints

#: Seconds between two protocol pings of /ws/heartbeat, and how long a peer may take to answer one.
REALTIME_HEARTBEAT_INTERVAL = env.float("REALTIME_HEARTBEAT_INTERVAL", default=30)
REALTIME_HEARTBEAT_TIMEOUT = env.float("REALTIME_HEARTBEAT_TIMEOUT", default=20)
#: Seconds over which a stopping server closes its sockets.
REALTIME_DRAIN_SECONDS = env.float("REALTIME_DRAIN_SECONDS", default=10)
#: Who may create a room by joining it: "anyone", "authenticated" or "staff".
REALTIME_ROOM_CREATION = env.str("REALTIME_ROOM_CREATION", default="authenticated")
#: Seconds after which a process that was killed counts as gone, with its connections.
REALTIME_LEASE_SECONDS = env.float("REALTIME_LEASE_SECONDS", default=15)
#: Accept an access token as ?token=. Off: a query string ends up in the logs of proxies.
REALTIME_TOKEN_IN_QUERY = env.bool("REALTIME_TOKEN_IN_QUERY", default=False)
#: New rooms in an hour by one user, or by the anonymous users of one address; 0 is no limit. Staff may make any number.
REALTIME_ROOMS_PER_HOUR = env.int("REALTIME_ROOMS_PER_HOUR", default=100)

#: Limits before the upgrade, 429 beyond them; 0 is no limit. Connections from this machine itself do not count.
REALTIME_HANDSHAKES_PER_MINUTE = env.int("REALTIME_HANDSHAKES_PER_MINUTE", default=0 if DEBUG else 600)
REALTIME_CONNECTIONS_PER_ADDRESS = env.int("REALTIME_CONNECTIONS_PER_ADDRESS", default=0 if DEBUG else 1000)
REALTIME_CONNECTIONS_PER_USER = env.int("REALTIME_CONNECTIONS_PER_USER", default=0 if DEBUG else 100)
#: Bad credentials from one address, on handshakes and at logins; this machine counts as one address here.
REALTIME_AUTH_FAILURES_PER_MINUTE = env.int("REALTIME_AUTH_FAILURES_PER_MINUTE", default=200)
#: Wrong passwords for one account from one address within 15 minutes; 0 is no limit.
REALTIME_LOGIN_FAILURES = env.int("REALTIME_LOGIN_FAILURES", default=10)

# Language, time, static files

LANGUAGE_CODE = "en"
#: What a page can be had in: by the switch at its foot, or as the browser asks. docs/browser.md adds one.
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
#: The texts of templates/; each app has a folder of its own.
LOCALE_PATHS = [BASE_DIR / "templates" / "locale"]
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # collectstatic compresses each file once; development serves the files as they are.
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG

# Logs

#: "text" for people, "keyvalue" or "json" for machines: one line for each event.
REALTIME_LOG_FORMAT = env.str("REALTIME_LOG_FORMAT", default="text" if DEBUG else "keyvalue")
#: One line for each request and connection. Off, those that broke a rule are still logged.
REALTIME_ACCESS_LOG = env.bool("REALTIME_ACCESS_LOG", default=DEBUG)

LOGGING = logging_settings(
    REALTIME_LOG_FORMAT, level=env.str("DJANGO_LOG_LEVEL", default="INFO"), access_log=REALTIME_ACCESS_LOG
)

# Errors

#: The address of a project at Sentry, where errors go; unset, nothing is sent. docs/operations.md says what.
SENTRY_DSN = env.str("SENTRY_DSN", default="")
if SENTRY_DSN:
    try:
        from realtime.engine.monitoring.sentry import start
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(
            f"SENTRY_DSN is set, but {error.name} is missing: pip install -r requirements-sentry.txt -c constraints.txt"
        ) from None
    start(
        SENTRY_DSN,
        environment=env.str("SENTRY_ENVIRONMENT", default="development" if DEBUG else "production"),
        traces_sample_rate=env.float("SENTRY_TRACES_SAMPLE_RATE", default=0),
    )
