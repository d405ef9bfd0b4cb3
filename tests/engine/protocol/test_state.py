"""The table of legal moves: those that are listed move, all others raise and change nothing."""

from __future__ import annotations

import itertools

import pytest

from realtime.engine.protocol.errors import ProtocolStateError
from realtime.engine.protocol.state import TRANSITIONS, Event, State, next_state

LEGAL = {(state, event): target for state, moves in TRANSITIONS.items() for event, target in moves.items()}
ALL = list(itertools.product(State, Event))


@pytest.mark.parametrize(("state", "event"), [pair for pair in ALL if pair in LEGAL])
def test_listed_event_moves_to_the_listed_state(state: State, event: Event) -> None:
    assert next_state(state, event) is LEGAL[state, event]


@pytest.mark.parametrize(("state", "event"), [pair for pair in ALL if pair not in LEGAL])
def test_other_event_raises_and_names_state_and_event(state: State, event: Event) -> None:
    with pytest.raises(ProtocolStateError) as caught:
        next_state(state, event)
    assert (caught.value.state, caught.value.event) == (state.value, event.value)


def test_every_state_can_lose_its_transport() -> None:
    assert {next_state(state, Event.LOST) for state in State} == {State.CLOSED}


def test_every_state_but_the_first_is_reached_from_it() -> None:
    reached = {State.CONNECTING}
    for _ in State:
        reached |= {target for state in reached for target in TRANSITIONS[state].values()}
    assert reached == set(State)


@pytest.mark.parametrize("state", [State.CLOSING, State.LINGERING, State.CLOSED])
@pytest.mark.parametrize("event", [Event.SEND, Event.CLOSE, Event.PING, Event.ACCEPT, Event.RESPONSE_BODY])
def test_what_the_application_sends_after_the_end_does_no_harm(state: State, event: Event) -> None:
    assert next_state(state, event) is state
