from __future__ import annotations

import datetime
import time
from typing import Any

import jwt
import pytest
from asgiref.sync import sync_to_async
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings as django_settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from realtime.engine.auth.authentication import Authentication, identify
from realtime.engine.auth.sessions import Identity
from realtime.engine.auth.tickets import issue_ticket
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.testing import create_user

User = get_user_model()

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime.datetime.now(datetime.UTC)
LATER = int((NOW + datetime.timedelta(hours=1)).timestamp())
EARLIER = int((NOW - datetime.timedelta(hours=1)).timestamp())


@pytest.fixture
def ann() -> User:
    return create_user("ann", "secret")


def scope_with(*headers: tuple[str, str], query: str = "") -> dict[str, Any]:
    return {
        "scheme": "wss",
        "query_string": query.encode(),
        "headers": [(b"host", b"site.example"), *((name.encode(), value.encode()) for name, value in headers)],
    }


def bearer(token: object) -> dict[str, Any]:
    return scope_with(("authorization", f"Bearer {token}"))


def signed(key: Any = django_settings.SECRET_KEY, algorithm: str = "HS256", **claims: Any) -> str:
    payload = {"token_type": "access", "exp": LATER, "jti": "x", **claims}
    return jwt.encode({name: value for name, value in payload.items() if value is not None}, key, algorithm)


async def rejection_of(scope: dict[str, Any], authentication: Authentication = Authentication.REQUIRED):
    with pytest.raises(HandshakeRejected) as caught:
        await identify(scope, authentication)
    assert caught.value.status == 401
    name, challenge = caught.value.headers[0]
    assert name == "WWW-Authenticate"
    assert challenge.startswith("Bearer")
    return caught.value


async def test_an_access_token_gives_its_user_and_expiry(ann) -> None:
    token = AccessToken.for_user(ann)
    identity = await identify(bearer(token), Authentication.REQUIRED)
    assert identity.user == ann
    assert identity.expires_at == token["exp"]


async def test_the_scheme_is_case_insensitive(ann) -> None:
    scope = scope_with(("authorization", f"bEARER  {AccessToken.for_user(ann)}"))
    assert (await identify(scope, Authentication.REQUIRED)).user == ann


def public_key_as_hmac_secret() -> str:
    public = rsa.generate_private_key(65537, 2048).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header_and_claims = jwt.encode({"token_type": "access", "exp": LATER, "user_id": "1"}, "x" * 32, "HS256")
    signing_input = header_and_claims.rsplit(".", 1)[0]
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = jwt.utils.base64url_encode(algorithm.sign(signing_input.encode(), pem)).decode()
    return f"{signing_input}.{signature}"


#: id, a function from the user to a token that must be refused
FORGED = [
    ("empty", lambda user: ""),
    ("garbage", lambda user: "not.a.token"),
    ("too long", lambda user: "x" * 10_000),
    ("another key", lambda user: signed("another key of sufficient length....", user_id=str(user.pk))),
    ("alg none", lambda user: signed(None, "none", user_id=str(user.pk))),
    ("another algorithm", lambda user: signed(django_settings.SECRET_KEY, "HS384", user_id=str(user.pk))),
    ("public key as secret", lambda user: public_key_as_hmac_secret()),
    ("refresh token", lambda user: str(RefreshToken.for_user(user))),
    ("no type", lambda user: signed(user_id=str(user.pk), token_type=None)),
    ("no expiry", lambda user: signed(user_id=str(user.pk), exp=None)),
    ("expired", lambda user: signed(user_id=str(user.pk), exp=EARLIER)),
    ("expiry of the wrong type", lambda user: signed(user_id=str(user.pk), exp="soon")),
    ("not yet valid", lambda user: signed(user_id=str(user.pk), nbf=LATER)),
    ("no user_id", lambda user: signed()),
    ("user_id is text", lambda user: signed(user_id="ann")),
    ("user_id is true", lambda user: signed(user_id=True)),
    ("user_id is a list", lambda user: signed(user_id=[user.pk])),
    ("user_id is a fraction", lambda user: signed(user_id=float(user.pk))),
    ("user_id is huge", lambda user: signed(user_id=10**30)),
    ("user_id is negative", lambda user: signed(user_id=-1)),
    ("unknown user", lambda user: signed(user_id="999999")),
]


@pytest.mark.parametrize("forge", [row[1] for row in FORGED], ids=[row[0] for row in FORGED])
async def test_a_token_that_is_not_valid_is_401(ann, forge) -> None:
    await rejection_of(bearer(forge(ann)))
    # Also where anonymous clients are welcome: who shows a credential means it.
    await rejection_of(bearer(forge(ann)), Authentication.OPTIONAL)


async def test_the_token_of_an_inactive_user_is_401(ann) -> None:
    token = AccessToken.for_user(ann)
    ann.is_active = False
    await ann.asave()
    await rejection_of(bearer(token))


async def test_nothing_at_all_is_401_and_says_what_to_send() -> None:
    rejection = await rejection_of(scope_with())
    assert "Authorization: Bearer" in rejection.detail


async def test_nothing_at_all_is_anonymous_where_that_is_allowed() -> None:
    identity = await identify(scope_with(), Authentication.OPTIONAL)
    assert identity.user.is_anonymous


async def test_an_endpoint_without_authentication_looks_at_no_credential() -> None:
    identity = await identify(bearer("garbage"), Authentication.NONE)
    assert identity.user.is_anonymous


async def test_two_authorization_headers_are_401(ann) -> None:
    header = ("authorization", f"Bearer {AccessToken.for_user(ann)}")
    await rejection_of(scope_with(header, header))


async def test_a_token_in_the_query_counts_only_where_a_setting_says_so(ann, settings) -> None:
    scope = scope_with(query=f"token={AccessToken.for_user(ann)}")
    await rejection_of(scope)
    settings.REALTIME_TOKEN_IN_QUERY = True
    assert (await identify(scope, Authentication.REQUIRED)).user == ann


async def test_a_ticket_works_once(ann) -> None:
    scope = scope_with(query=f"ticket={issue_ticket(Identity(ann, expires_at=123.0))}")
    identity = await identify(scope, Authentication.REQUIRED)
    assert (identity.user, identity.expires_at) == (ann, 123.0)
    rejection = await rejection_of(scope)
    assert "once" in rejection.detail


async def test_a_forged_ticket_is_401(ann) -> None:
    await rejection_of(scope_with(query=f"ticket={issue_ticket(Identity(ann))}x"))
    await rejection_of(scope_with(query="ticket="))
    await rejection_of(scope_with(query="ticket=" + "x" * 5000))


async def test_an_old_ticket_is_401(ann, monkeypatch) -> None:
    ticket = issue_ticket(Identity(ann))
    later = time.time() + 100
    monkeypatch.setattr("time.time", lambda: later)
    rejection = await rejection_of(scope_with(query=f"ticket={ticket}"))
    assert "expired" in rejection.detail


async def test_the_ticket_of_an_inactive_user_is_401(ann) -> None:
    ticket = issue_ticket(Identity(ann))
    ann.is_active = False
    await ann.asave()
    await rejection_of(scope_with(query=f"ticket={ticket}"))


async def session_cookie(user: User) -> tuple[str, str]:
    session = SessionStore()
    await session.aset(SESSION_KEY, str(user.pk))
    await session.aset(BACKEND_SESSION_KEY, django_settings.AUTHENTICATION_BACKENDS[0])
    await session.aset(HASH_SESSION_KEY, user.get_session_auth_hash())
    await session.asave()
    return "cookie", f"theme=dark; sessionid={session.session_key}"


async def test_the_session_of_a_same_origin_page_counts(ann) -> None:
    scope = scope_with(await session_cookie(ann), ("origin", "https://site.example"))
    identity = await identify(scope, Authentication.REQUIRED)
    assert (identity.user, identity.expires_at) == (ann, None)


@pytest.mark.parametrize("origin", [None, "https://other.example", "null"])
async def test_a_session_counts_for_nothing_without_the_pages_own_origin(ann, origin) -> None:
    headers = [await session_cookie(ann)] + ([] if origin is None else [("origin", origin)])
    await rejection_of(scope_with(*headers))


async def test_a_session_from_before_a_password_change_counts_for_nothing(ann) -> None:
    cookie = await session_cookie(ann)
    ann.set_password("another")
    await ann.asave()
    await rejection_of(scope_with(cookie, ("origin", "https://site.example")))


async def test_a_bearer_token_goes_before_a_ticket_and_a_session(ann) -> None:
    bob = await sync_to_async(create_user)("bob")
    scope = scope_with(
        ("authorization", f"Bearer {AccessToken.for_user(bob)}"),
        await session_cookie(ann),
        ("origin", "https://site.example"),
        query=f"ticket={issue_ticket(Identity(ann))}",
    )
    assert (await identify(scope, Authentication.REQUIRED)).user == bob


async def test_neither_tokens_nor_times_show_in_a_repr(ann) -> None:
    identity = await identify(bearer(AccessToken.for_user(ann)), Authentication.REQUIRED)
    assert "expires_at" not in repr(identity)
