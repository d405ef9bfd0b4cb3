"""The channels and groups of one process, read both ways."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.engine.layer.local import LocalMembers
from realtime.engine.layer.options import LayerOptions

GROUPS, CHANNELS = "GHI", "abcd"


class Members(LocalMembers):
    """The members of a process, by their names."""

    def names(self, group):
        return [member.name for audience in self.audience(group).values() for member in audience]

    def leave_all(self, channel):
        """Leave as a channel does that is attached and closed."""
        if channel in self._channels:
            self._forget(self._channels[channel])


@pytest.fixture
def members():
    return Members(LayerOptions())


def test_members_are_listed_in_the_order_in_which_they_came(members):
    for channel in ("c", "a", "b"):
        members.add("group", channel)
    assert members.names("group") == ["c", "a", "b"]


def test_a_group_has_members_until_the_last_one_leaves(members):
    members.add("group", "a")
    members.add("group", "b")
    members.discard("group", "a")
    assert members.has_members("group")
    members.discard("group", "b")
    assert not members.has_members("group")


def test_a_channel_that_is_no_member_cannot_be_the_last_to_leave(members):
    members.discard("group", "a")
    members.add("group", "b")
    members.add("other", "a")
    members.discard("group", "a")
    assert members.names("group") == ["b"]
    assert members.groups() == ["group", "other"]


def test_a_channel_leaves_all_its_groups(members):
    members.add("alone", "a")
    members.add("shared", "a")
    members.add("shared", "b")
    members.leave_all("a")
    assert members.groups() == ["shared"]
    assert members.names("shared") == ["b"]
    members.leave_all("a")
    assert members.groups() == ["shared"]


def test_a_list_of_members_stays_as_it_was_while_the_group_changes(members):
    members.add("group", "a")
    before = members.audience("group")[None]
    members.add("group", "b")
    assert [member.name for member in before] == ["a"]
    assert members.names("group") == ["a", "b"]


def test_a_deserted_group_leaves_nothing_behind(members):
    members.add("group", "a")
    assert members.has_members("group")
    members.audience("group")
    members.leave_all("a")
    assert not members.has_members("group")
    assert len(members) == 0
    assert members.groups() == []
    assert members.names("group") == []


def test_clear_ends_all_memberships_and_frees_the_channels(members):
    members.add("group", "a")
    members.add("other", "a")
    members.clear()
    assert members.groups() == []
    assert len(members) == 0


async def test_a_channel_that_is_read_goes_on_being_read_after_clear(members):
    receiving = asyncio.create_task(members.receive("a"))
    await asyncio.sleep(0)
    members.clear()
    members.post("a", {"type": "mark"})
    assert await receiving == {"type": "mark"}


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "discard", "leave_all"]), st.sampled_from(GROUPS), st.sampled_from(CHANNELS))
    )
)
def test_both_directions_always_agree(steps):
    members = Members(LayerOptions())
    model = set()
    for step, group, channel in steps:
        if step == "add":
            members.add(group, channel)
            model.add((group, channel))
        elif step == "discard":
            members.discard(group, channel)
            model.discard((group, channel))
        else:
            members.leave_all(channel)
            model = {pair for pair in model if pair[1] != channel}
        assert {(name, channel) for name in GROUPS for channel in members.names(name)} == model
        assert {(g, name) for name, member in members._channels.items() for g in member.groups or ()} == model
        assert set(members.groups()) == {name for name, _ in model}
        assert len(members) == len({name for _, name in model})


def test_joins_and_leaves_from_many_threads_leave_nothing_behind(members):
    def come_and_go(channel):
        for turn in range(300):
            members.add(f"group{turn % 3}", channel)
            members.audience(f"group{turn % 3}")
            if turn % 2:
                members.leave_all(channel)
        members.leave_all(channel)

    threads = [threading.Thread(target=come_and_go, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert members.groups() == []
    assert [members.names(f"group{number}") for number in range(3)] == [[], [], []]
