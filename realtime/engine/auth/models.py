"""Revocations of users and logged-out cookie sessions."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Revocation(models.Model):
    """The moment before which a user's connections and tokens are void."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        # A row has to outlive its user: deleting a user ends the user's connections.
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        primary_key=True,
        related_name="+",
    )
    at = models.DateTimeField(db_index=True)
    reason = models.CharField(max_length=120)
    #: Tokens and tickets carry it: what has a smaller number was issued before, also within the same second.
    generation = models.PositiveBigIntegerField(default=1)

    def __str__(self) -> str:
        return f"user {self.pk} at {self.at:%Y-%m-%d %H:%M:%S}: {self.reason}"

    def voids(self, generation: int | None, issued_at: float) -> bool:
        """Return whether a token is from before this revocation.

        Args:
            generation: the token's generation; None for a token of another issuer.
            issued_at: POSIX time in whole seconds, the token's ``iat``; it counts where there is no generation. A token
                of the very second of the revocation is void: nothing says on which side of it.
        """
        if generation is None:
            return issued_at <= int(self.at.timestamp())
        return generation < self.generation


class EndedSession(models.Model):
    """A session that was logged out while copies of its cookie are still valid (``signed_cookies``)."""

    identity = models.CharField(max_length=64, primary_key=True, help_text="A keyed hash of the session's identity.")
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"until {self.expires_at:%Y-%m-%d %H:%M:%S}"
