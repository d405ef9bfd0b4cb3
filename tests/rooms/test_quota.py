"""How many rooms one user, or one address of anonymous users, may make in an hour."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from realtime.engine.testing import ServerProcess, create_user
from realtime.rooms.models import Room
from realtime.rooms.permissions import Refusal
from realtime.rooms.services import admit

User = get_user_model()

LIMIT = 3


@pytest.fixture(scope="module")
def limited_processes() -> Iterator[Callable[[Any], list[ServerProcess]]]:
    """Starts the processes of a site once more, with a limit on new rooms, which everybody may make."""
    started: dict[str, list[ServerProcess]] = {}
    with contextlib.ExitStack() as stack:

        def start(site: Any) -> list[ServerProcess]:
            url = site.environment["DATABASE_URL"]
            if url not in started:
                limits = {"REALTIME_ROOMS_PER_HOUR": str(LIMIT), "REALTIME_ROOM_CREATION": "anyone"}
                environment = {**site.environment, **limits}
                count = len({id(process) for process in site.processes})
                started[url] = [stack.enter_context(ServerProcess(env=environment)) for _ in range(count)]
            return started[url]

        yield start


@pytest.fixture
def limited_site(site: Any, limited_processes: Callable[[Any], list[ServerProcess]]) -> Any:
    """The site, with a limit on new rooms."""
    site.processes = limited_processes(site)
    return site


def new_name() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


async def test_more_new_rooms_than_the_quota_are_refused_by_the_socket_and_the_api(limited_site: Any) -> None:
    site = limited_site
    client = await site.client("prolific")
    names = [new_name() for _ in range(LIMIT)]
    for name in names:
        await client.join(name)
    refused = await client.ask("Join", room=new_name(), ref="one too many")
    assert (refused["type"], refused["code"], refused["ref"]) == ("Error", "rate_limited", "one too many")
    by_address = await site.client("prolific", path=f"/ws/rooms/{new_name()}", process=site.other)
    assert (await by_address.receive())["code"] == "rate_limited"
    status, problem = await site.api("POST", "/api/rooms/", "prolific", room=new_name())
    assert (status, "new rooms" in problem["detail"]) == (429, True)
    # Rooms that are there already, other people and staff are not concerned.
    await by_address.join(names[0])
    await (await site.client("carol")).join(new_name())
    staff = await site.client("staff")
    for _ in range(LIMIT + 1):
        await staff.join(new_name())


async def test_the_quota_holds_exactly_for_rooms_that_are_made_at_the_same_time(limited_site: Any) -> None:
    site = limited_site
    clients = [await site.client("parallel", process=process) for process in site.processes for _ in range(6)]
    joins = [client.ask("Join", room=new_name()) for client in clients]
    posts = [site.api("POST", "/api/rooms/", "parallel", room=new_name()) for _ in range(6)]
    answers = await asyncio.gather(*joins, *posts)
    joined = [answer for answer in answers[: len(joins)] if answer["type"] == "Joined"]
    posted = [status for status, _ in answers[len(joins) :] if status == 201]
    assert len(joined) + len(posted) == LIMIT
    assert {answer["code"] for answer in answers[: len(joins)] if answer["type"] == "Error"} <= {"rate_limited"}
    assert {status for status, _ in answers[len(joins) :]} <= {201, 429}


async def test_anonymous_users_share_the_quota_of_their_address(limited_site: Any) -> None:
    site = limited_site
    for _ in range(LIMIT):
        await (await site.client(process=site.other)).join(new_name())
    anonymous = await site.client()
    assert (await anonymous.ask("Join", room=new_name()))["code"] == "rate_limited"
    assert (await site.api("POST", "/api/rooms/", None, room=new_name()))[0] == 429


@pytest.mark.django_db
def test_after_an_hour_rooms_may_be_made_again(settings: Any) -> None:
    settings.REALTIME_ROOMS_PER_HOUR = 1
    user = create_user("ann")
    assert not isinstance(admit(user, "first", "192.0.2.1"), Refusal)
    refusal = admit(user, "second", "192.0.2.2")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "rate_limited"
    assert 3500 < (refusal.retry_after or 0) <= 3600
    Room.objects.update(created_at=timezone.now() - datetime.timedelta(hours=1))
    assert not isinstance(admit(user, "second", "192.0.2.2"), Refusal)


@pytest.mark.django_db
def test_each_address_of_anonymous_users_has_a_quota_of_its_own_and_is_not_stored(settings: Any) -> None:
    settings.REALTIME_ROOM_CREATION = "anyone"
    settings.REALTIME_ROOMS_PER_HOUR = 1
    addresses = ["192.0.2.1", "192.0.2.2"]
    rooms = itertools.count()
    first = [admit(AnonymousUser(), f"room-{next(rooms)}", address) for address in addresses]
    again = [admit(AnonymousUser(), f"room-{next(rooms)}", address) for address in addresses]
    assert [isinstance(outcome, Refusal) for outcome in first + again] == [False] * 2 + [True] * 2
    assert not Room.objects.filter(quota_key__contains="192.0.2").exists()
