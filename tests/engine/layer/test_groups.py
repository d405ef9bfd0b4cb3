"""Membership in both directions."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from realtime.engine.layer.groups import Groups


def test_members_are_listed_in_the_order_in_which_they_came():
    groups = Groups(tuple)
    for member in ("c", "a", "b"):
        groups.add("group", member)
    assert groups.members("group") == ("c", "a", "b")


def test_the_first_and_the_last_member_are_told_apart():
    groups = Groups(tuple)
    assert groups.add("group", "a") is True
    assert groups.add("group", "b") is False
    assert groups.discard("group", "a") is False
    assert groups.discard("group", "b") is True
    assert groups.add("group", "a") is True


def test_who_is_not_a_member_cannot_be_the_last_to_leave():
    groups = Groups(tuple)
    assert groups.discard("group", "a") is False
    groups.add("group", "b")
    assert groups.discard("group", "a") is False
    assert groups.members("group") == ("b",)


def test_leaving_all_groups_tells_which_are_deserted():
    groups = Groups(tuple)
    groups.add("alone", "a")
    groups.add("shared", "a")
    groups.add("shared", "b")
    assert groups.leave_all("a") == ["alone"]
    assert groups.groups_of("a") == frozenset()
    assert groups.members("shared") == ("b",)
    assert groups.leave_all("a") == []


def test_a_list_of_members_stays_as_it_was_while_the_group_changes():
    groups = Groups(tuple)
    groups.add("group", "a")
    before = groups.members("group")
    groups.add("group", "b")
    assert before == ("a",)
    assert groups.members("group") == ("a", "b")


def test_a_deserted_group_leaves_nothing_behind():
    groups = Groups(tuple)
    groups.add("group", "a")
    assert "group" in groups
    groups.members("group")
    groups.leave_all("a")
    assert "group" not in groups
    assert len(groups) == 0
    assert groups.names() == []
    assert groups.members("group") == ()


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "discard", "leave_all"]), st.sampled_from("GHI"), st.sampled_from("abcd"))
    )
)
def test_both_directions_always_agree(steps):
    groups = Groups(tuple)
    model = set()
    for step, group, member in steps:
        if step == "add":
            groups.add(group, member)
            model.add((group, member))
        elif step == "discard":
            groups.discard(group, member)
            model.discard((group, member))
        else:
            groups.leave_all(member)
            model = {pair for pair in model if pair[1] != member}
        assert {(name, one) for name in "GHI" for one in groups.members(name)} == model
        assert {(name, one) for one in "abcd" for name in groups.groups_of(one)} == model
        assert set(groups.names()) == {name for name, _ in model}


def test_joins_and_leaves_from_many_threads_leave_nothing_behind():
    groups = Groups(tuple)

    def come_and_go(member):
        for turn in range(300):
            groups.add(f"group{turn % 3}", member)
            groups.members(f"group{turn % 3}")
            if turn % 2:
                groups.leave_all(member)
        groups.leave_all(member)

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert groups.names() == []
    assert [groups.members(f"group{number}") for number in range(3)] == [(), (), ()]
