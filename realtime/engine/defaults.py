"""Values that ``settings.py`` computes: hosts of a development server, options of the database, and of emails."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured

#: Addresses of documentation networks. A UDP socket "connected" there sends nothing, and has this machine's address.
ELSEWHERE = [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")]

#: Write-ahead log: readers never wait for the writer. Immediate transactions: a writer waits for its
#: turn at BEGIN instead of failing in the middle with "database is locked".
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}

#: Nobody waits for longer than ten seconds for a server whose machine is gone; TCP alone would take minutes.
POSTGRESQL_OPTIONS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}

#: Seconds for which a request waits for the server that takes emails. Without a limit it waits as long as TCP does.
EMAIL_TIMEOUT = 10

#: The options of an entry of ``MAILERS``, by the setting that Django had for each before 6.1, and by the backend.
MAILER_OPTIONS = {
    "django.core.mail.backends.smtp.EmailBackend": {
        "EMAIL_HOST": "host",
        "EMAIL_PORT": "port",
        "EMAIL_HOST_USER": "username",
        "EMAIL_HOST_PASSWORD": "password",
        "EMAIL_USE_TLS": "use_tls",
        "EMAIL_USE_SSL": "use_ssl",
        "EMAIL_TIMEOUT": "timeout",
    },
    "django.core.mail.backends.filebased.EmailBackend": {"EMAIL_FILE_PATH": "file_path"},
}

#: Formatters of ``realtime.engine.monitoring.logs``.
LOG_FORMATTERS = {"text": "TextFormatter", "keyvalue": "KeyValueFormatter", "json": "JsonFormatter"}


def database_settings(database: dict[str, Any], conn_max_age: int) -> dict[str, Any]:
    """Return an entry of ``DATABASES`` with the options of its engine.

    Args:
        database: what ``DATABASE_URL`` says; its own options win.
        conn_max_age: seconds for which a server's connection is kept.
    """
    if database["ENGINE"] == "django.db.backends.sqlite3":
        # A file, because threads cannot wait for each other's transactions in a database that lives in memory.
        # Named after the process that runs the tests, also in the live server that it starts.
        tester = multiprocessing.parent_process()
        test_name = f"realtime-test-{os.getpid() if tester is None else tester.pid}.sqlite3"
        options = {**database.get("OPTIONS", {}), **SQLITE_OPTIONS}
        return {**database, "OPTIONS": options, "TEST": {"NAME": f"{tempfile.gettempdir()}/{test_name}"}}
    is_postgresql = database["ENGINE"] == "django.db.backends.postgresql"
    options = {**(POSTGRESQL_OPTIONS if is_postgresql else {}), **database.get("OPTIONS", {})}
    return {**database, "OPTIONS": options, "CONN_HEALTH_CHECKS": True, "CONN_MAX_AGE": conn_max_age}


def email_settings(email: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of emails: ``MAILERS`` from Django 6.1 on, ``EMAIL_*`` before.

    Args:
        email: what ``EMAIL_URL`` says.
    """
    email = {**email, "EMAIL_TIMEOUT": EMAIL_TIMEOUT}
    if django.VERSION < (6, 1):
        return email
    backend = email["EMAIL_BACKEND"]
    names = MAILER_OPTIONS.get(backend, {})
    options = {names[name]: value for name, value in email.items() if name in names and value is not None}
    return {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": options}}}


def logging_settings(log_format: str, *, level: str, access_log: bool) -> dict[str, Any]:
    """Return ``LOGGING``: one line for each event, on the standard error, without queries and secrets.

    Args:
        log_format: ``text``, ``keyvalue`` or ``json``.
        level: the lowest level that is logged.
        access_log: whether each request and connection has a line; without it only those that broke a rule have one.

    Raises:
        ImproperlyConfigured: if there is no such format.
    """
    if log_format not in LOG_FORMATTERS:
        raise ImproperlyConfigured(f"REALTIME_LOG_FORMAT is {log_format!r}; use text, keyvalue or json.")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": f"realtime.engine.monitoring.logs.{LOG_FORMATTERS[log_format]}"}},
        "filters": {"without_query": {"()": "realtime.engine.monitoring.logs.WithoutQuery"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # Django's own configuration would print these a second time in development.
            "django": {"handlers": [], "propagate": True},
            "realtime.access": {"level": "INFO" if access_log else "WARNING"},
            # uvicorn logs the whole request target, where tickets are.
            "uvicorn.access": {"filters": ["without_query"]},
            "uvicorn.error": {"filters": ["without_query"]},
        },
    }


def hosts_of_this_machine(served_on: str) -> list[str]:
    """Return the hosts for ``ALLOWED_HOSTS``, without a name server.

    Args:
        served_on: the host that the server listens on.
    """
    name = socket.gethostname().lower()
    names = {"localhost", ".localhost", "127.0.0.1", "::1", name, name.partition(".")[0] + ".local"}
    hosts = {*names, *_addresses(), served_on.strip("[]").lower()} - {"0.0.0.0", "::"}  # noqa: S104
    return sorted(f"[{host}]" if ":" in host else host for host in hosts)


def _addresses() -> list[str]:
    found = []
    for family, elsewhere in ELSEWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            found.append(probe.getsockname()[0])
    program = shutil.which("hostname")
    if program is not None:  # that of Linux lists every interface
        done = subprocess.run([program, "-I"], capture_output=True, text=True, check=False)  # noqa: S603
        found += done.stdout.split() if done.returncode == 0 else []
    return found
