"""How rooms, messages and memberships look in the HTTP API."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from rest_framework import serializers

from realtime.rooms.limits import MAX_REF
from realtime.rooms.models import Membership, Room, RoomMessage


class RoomSerializer(serializers.ModelSerializer[Room]):
    """A room; ``room`` is its name in addresses and on the socket."""

    room = serializers.CharField(source="slug", max_length=64, validators=Room._meta.get_field("slug").validators)
    seq = serializers.IntegerField(source="last_seq", read_only=True, help_text="Number of the newest message.")

    class Meta:
        model = Room
        fields = [
            "room",
            "title",
            "is_public",
            "anonymous_may_read",
            "anonymous_may_post",
            "is_archived",
            "member_limit",
            "epoch",
            "seq",
            "created_at",
        ]
        read_only_fields = ["epoch", "created_at"]

    def update(self, instance: Room, validated_data: dict[str, Any]) -> Room:
        """Change a room; its name stays, other people hold on to it."""
        if validated_data.pop("slug", instance.slug) != instance.slug:
            raise serializers.ValidationError({"room": ["A room cannot be renamed."]})
        return super().update(instance, validated_data)


class MessageSerializer(serializers.ModelSerializer[RoomMessage]):
    """A message, with the names that the socket uses; the rules of its text are those of the socket."""

    room = serializers.CharField(source="room.slug", read_only=True)
    user = serializers.CharField(source="name", read_only=True)
    content = serializers.CharField(trim_whitespace=False, allow_blank=True)
    ref = serializers.CharField(
        max_length=MAX_REF, required=False, write_only=True, help_text="A repeated request is one message."
    )

    class Meta:
        model = RoomMessage
        fields = ["room", "seq", "user", "content", "at", "ref"]
        read_only_fields = ["seq", "at"]


class MembershipSerializer(serializers.ModelSerializer[Membership]):
    """A user's role in a room."""

    user = serializers.SlugRelatedField(
        slug_field=get_user_model().USERNAME_FIELD, queryset=get_user_model()._default_manager.all()
    )

    class Meta:
        model = Membership
        fields = ["user", "role", "since"]
        read_only_fields = ["since"]
