"""Who is speaking: a user of the site, or a visitor with a name for the length of a connection."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.rooms.access import AnyUser

__all__ = ["Person"]

#: Hexadecimal digits in a visitor's name; enough that two in one room rarely have the same.
GUEST_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Person:
    """An identity in a room.

    Args:
        key: the same for every connection of a user; a visitor's is the connection's own.
        name: what others see.
        user: the user, or ``AnonymousUser``.
    """

    key: str
    name: str
    user: AnyUser

    @classmethod
    def of(cls, user: AnyUser, connection: str) -> Person:
        """Return the identity of ``user`` on the connection with the identity ``connection`` (hexadecimal)."""
        if user.is_authenticated:
            return cls(f"user:{user.pk}", user.get_username(), user)
        return cls(f"guest:{connection}", f"guest-{connection[:GUEST_DIGITS]}", user)

    @property
    def user_id(self) -> int | None:
        """Primary key of the user; None for a visitor."""
        return self.user.pk if self.user.is_authenticated else None
