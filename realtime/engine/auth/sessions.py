"""The user and the login session of a cookie, and whether it is still valid, for every session backend of Django.

A session that the server stores ends when it is deleted, when it expires, and when its user's password changes. One
that only the cookie holds (``signed_cookies``) cannot be deleted: it gets an identity of its own at login, and
logging out stores that identity for as long as a copy of the cookie would be valid.

The key of a session opens it, so it is never stored, logged or sent: what leaves the process is a keyed hash of it.
"""

from __future__ import annotations

import datetime
import re
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.core import signing
from django.core.cache import caches
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from realtime.engine.auth.models import EndedSession
from realtime.engine.auth.revocation import current_generation, revoke_user

#: Name of the identity that a session without a place on the server gets.
MARK = "_realtime_session"

_SALT = "realtime.auth.sessions"

#: What a session key may look like; Django's have 32 letters and digits, those of other backends may differ.
_KEY = re.compile(r"[-\w.:]{8,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LoginSession:
    """The login session that opened a connection."""

    identity: str
    """A keyed hash, the same for all connections of the session; it may be stored and sent."""
    user_id: str
    auth_hash: str = field(repr=False)
    """What Django compares with the user's password."""
    key: str | None = field(repr=False)
    """Its key in the session store; None where only the cookie holds it."""
    expires_at: float | None = None
    """POSIX time at which the cookie stops being valid; None where the store knows."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a connection."""

    user: AbstractBaseUser | AnonymousUser
    expires_at: float | None = field(default=None, repr=False)
    """POSIX time at which the connection is closed with 3000; None for never."""
    generation: int = 0
    """How often everything of the user had been revoked when the credential was checked."""
    session: LoginSession | None = None
    """The login session that the connection ends with; None for a token."""


def open_session(cookie: str) -> Identity | None:
    """Return the user and the session of a session cookie; None where nobody is logged in. Synchronous.

    Nothing is written, unlike ``django.contrib.auth.get_user()``: a handshake could not send a new cookie.
    """
    store = _store()
    is_in_the_cookie = issubclass(store, CookieStore)
    found = store(cookie).load() if is_in_the_cookie else _read_stored([cookie]).get(cookie)
    if not found or SESSION_KEY not in found or found.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    own = found.get(MARK) if is_in_the_cookie else cookie
    if not own:
        return None
    session = LoginSession(
        identity=_hash(own),
        user_id=found[SESSION_KEY],
        auth_hash=found.get(HASH_SESSION_KEY, ""),
        key=None if is_in_the_cookie else cookie,
        expires_at=_cookie_expiry(cookie) if is_in_the_cookie else None,
    )
    primary_key = get_user_model()._meta.pk.to_python(session.user_id)
    user: Any = load_backend(found[BACKEND_SESSION_KEY]).get_user(primary_key)
    if not _is_valid(session, user) or _logged_out([session]):
        return None
    return Identity(user, generation=current_generation(user.pk), session=session)


def ended_sessions(owners: Mapping[LoginSession, Any]) -> set[LoginSession]:
    """Return which of some sessions have ended. Synchronous.

    Args:
        owners: the user of each session, as read from the database now; None for one that is gone.

    Raises:
        Exception: whatever the session backend raises while it is away; nothing is known of the sessions then.
    """
    stored = _read_stored([session.key for session in owners if session.key])
    logged_out = _logged_out(owners)
    return {
        session
        for session, user in owners.items()
        if session in logged_out
        or (session.key and stored.get(session.key, {}).get(SESSION_KEY) != session.user_id)
        or not _is_valid(session, user)
    }


def mark_session(session: Any) -> None:
    """Give a session an identity at login, where the server does not store it."""
    if isinstance(session, CookieStore):
        session[MARK] = secrets.token_urlsafe(16)


def identity_of(session: Any) -> str:
    """Return the identity of Django's session object; empty where it has none."""
    own = session.get(MARK) if isinstance(session, CookieStore) else session.session_key
    return _hash(own) if own else ""


def note_logout(session: Any) -> None:
    """Make every copy of a cookie void whose session is not stored. Synchronous."""
    if not isinstance(session, CookieStore) or not identity_of(session):
        return
    now = timezone.now()
    EndedSession.objects.filter(expires_at__lt=now).delete()
    expires_at = now + datetime.timedelta(seconds=session.get_session_cookie_age())
    EndedSession.objects.update_or_create(pk=identity_of(session), defaults={"expires_at": expires_at})


def end_sessions(user_id: Any) -> None:
    """Delete a user's sessions in the database; no other backend can be searched. Synchronous.

    A session does not say whose it is until it is decoded.
    """
    store = _store()
    if not issubclass(store, DatabaseStore):
        return
    for row in store.get_model_class().objects.filter(expire_date__gt=timezone.now()).iterator():
        if store().decode(row.session_data).get(SESSION_KEY) == str(user_id):
            store(row.session_key).delete()  # from the cache too, with cached_db


def log_out_everywhere(user_id: Any) -> None:
    """Close every connection of a user, refuse the tokens and tickets of now, and delete the sessions. Synchronous."""
    revoke_user(user_id, "logged out everywhere")
    end_sessions(user_id)


def _hash(value: str) -> str:
    return salted_hmac(_SALT, value, algorithm="sha256").hexdigest()


def _store() -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore


def _cookie_expiry(cookie: str) -> float:
    """Return when a valid cookie stops being valid: Django counts from the time that it is signed with."""
    issued_at = signing.b62_decode(cookie.rsplit(":", 2)[1])
    modification = datetime.datetime.fromtimestamp(issued_at, datetime.UTC)
    return issued_at + float(_store()(cookie).get_expiry_age(modification=modification))


def _read_stored(keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return sessions by key; those that do not exist any more, or have expired, are missing.

    The backends' own ``load()`` takes a cache that is away for a session that has ended, and reads one at a time.
    """
    store, keys = _store(), [key for key in keys if _KEY.fullmatch(key)]
    if not keys:
        return {}
    if issubclass(store, DatabaseStore):
        rows = store.get_model_class().objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
        return {row.session_key: store().decode(row.session_data) for row in rows}
    if issubclass(store, CacheStore):
        names = {store.cache_key_prefix + key: key for key in keys}
        found = caches[settings.SESSION_CACHE_ALIAS].get_many(names)
        return {names[name]: session for name, session in found.items()}
    loaded = {key: store(key).load() for key in keys}
    return {key: session for key, session in loaded.items() if session}


def _logged_out(sessions: Collection[LoginSession]) -> set[LoginSession]:
    identities = {session.identity: session for session in sessions if session.key is None}
    if not identities:
        return set()
    ended = EndedSession.objects.filter(pk__in=identities).values_list("pk", flat=True)
    return {identities[identity] for identity in ended}


def _is_valid(session: LoginSession, user: Any) -> bool:
    if user is None or (session.expires_at is not None and session.expires_at <= time.time()):
        return False
    valid = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(session.auth_hash, one) for one in valid)
