"""The states of a connection, and the one table that says which event may happen in which.

::

                    accept                 close, shut                peer close
    CONNECTING ------------------> OPEN ----------------> CLOSING ----------------+
        |                            |                       |                    |
        |  response start            |  peer close, fail     |  fail              v
        +------------> DENYING       +-----------------------+--------------> LINGERING
        |  refuse, close   |                                                      |
        +------------------+----------------- response end, refuse -------------->+
                                                                                  | lost (from everywhere)
                                                                                  v
                                                                               CLOSED

A connection that is OPEN and loses its transport before everything was read is LOST until the rest is read.
"""

from __future__ import annotations

import enum

from realtime.engine.protocol.errors import ProtocolStateError


class State(enum.Enum):
    """Where a connection stands."""

    CONNECTING = "connecting"  # the application has not answered the request
    DENYING = "denying"  # the application is sending an HTTP response instead of the upgrade
    OPEN = "open"
    CLOSING = "closing"  # this side has sent its close frame and waits for the peer's (RFC 6455, 7.1.2)
    LINGERING = "lingering"  # everything was sent; the peer has some time to read it and to end the TCP connection
    LOST = "lost"  # the transport is gone; the application is still given what arrived before
    CLOSED = "closed"  # the transport is gone, or has to go at once


class Event(enum.StrEnum):
    """What can happen to a connection; the application's have their ASGI names."""

    ACCEPT = "websocket.accept"
    SEND = "websocket.send"
    PING = "websocket.ping"
    CLOSE = "websocket.close"
    RESPONSE_START = "websocket.http.response.start"
    RESPONSE_BODY = "websocket.http.response.body"
    RESPONSE_END = "end of websocket.http.response.body"
    REFUSE = "refusal by the server"
    SHUT = "close by the server"
    PEER_CLOSE = "close by the peer"
    FAIL = "violation by the peer"
    LOST = "loss of the transport"
    LOST_UNREAD = "loss of the transport before everything was read"


#: What an application may still send after the end without harm (ASGI: "should be a no-op").
_TOO_LATE = tuple(event for event in Event if event.startswith("websocket."))


def _over(state: State, **moves: State) -> dict[Event, State]:
    """Return the moves of a state in which what the application sends is ignored."""
    return dict.fromkeys(_TOO_LATE, state) | {Event[name]: target for name, target in moves.items()}


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.CONNECTING: {
        Event.ACCEPT: State.OPEN,
        Event.CLOSE: State.LINGERING,
        Event.RESPONSE_START: State.DENYING,
        Event.REFUSE: State.LINGERING,
        Event.LOST: State.CLOSED,
    },
    State.DENYING: {
        Event.RESPONSE_BODY: State.DENYING,
        Event.RESPONSE_END: State.LINGERING,
        Event.REFUSE: State.LINGERING,
        Event.LOST: State.CLOSED,
    },
    State.OPEN: {
        Event.SEND: State.OPEN,
        Event.PING: State.OPEN,
        Event.CLOSE: State.CLOSING,
        Event.SHUT: State.CLOSING,
        Event.PEER_CLOSE: State.LINGERING,
        Event.FAIL: State.LINGERING,
        Event.LOST: State.CLOSED,
        Event.LOST_UNREAD: State.LOST,
    },
    State.LOST: _over(State.LOST)
    | dict.fromkeys((Event.CLOSE, Event.SHUT, Event.PEER_CLOSE, Event.FAIL, Event.LOST), State.CLOSED),
    State.CLOSING: _over(State.CLOSING, PEER_CLOSE=State.LINGERING, FAIL=State.LINGERING, LOST=State.CLOSED),
    State.LINGERING: _over(State.LINGERING, LOST=State.CLOSED),
    State.CLOSED: _over(State.CLOSED, LOST=State.CLOSED),
}


def next_state(state: State, event: Event) -> State:
    """Return the state after ``event``.

    Raises:
        ProtocolStateError: if the event is not legal in this state.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ProtocolStateError(state.value, event.value) from None
