"""Decodes messages of several struct types by their tag, and explains those that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from realtime.engine.protocol.errors import InvalidMessage
from realtime.engine.typed.explain import explain, unknown_tag
from realtime.engine.typed.formats import DECODE_ERRORS, JSON, MAX_REF, Format, Head, LooseHead
from realtime.engine.typed.wire import REF, TAG, union_members, wire_type

__all__ = ["MessageDecoder"]


class MessageDecoder:
    """Decodes the messages of one endpoint in one direction.

    A message is read twice: its head, for the tag and the ``ref``, and then as the struct of that tag. So a struct
    needs no tag and no field ``ref``, and a handler gets exactly the type that it names.

    Args:
        types: a list of struct types, or one union of them.
        form: ``JSON`` or ``MSGPACK``.

    Raises:
        DeclarationError: for a type that cannot be a message, or two with one tag.
    """

    def __init__(self, types: Any, form: Format[Any] = JSON) -> None:
        members = types if isinstance(types, (list, tuple)) else union_members(types)
        self._form = form
        self._decode_head = form.decode_head
        self._decoders = {wire_type(struct).tag: _decoder(struct, form) for struct in members}
        self._tags = ", ".join(sorted(self._decoders))

    def decode(self, payload: Any) -> tuple[Head, Any]:
        """Return the head of a message, its ``type`` and ``ref``, and the message itself.

        Args:
            payload: the text of a WebSocket message as JSON, or the bytes of one as msgpack.

        Raises:
            InvalidMessage: for everything else. ``detail`` says what and where; ``ref`` is the message's own if it can
                be read.
        """
        try:
            head = self._decode_head(payload)
        except DECODE_ERRORS as error:
            raise self._diagnose(error, payload) from None
        decode = self._decoders.get(head.type)
        if decode is None:
            raise InvalidMessage(unknown_tag(head.type, self._tags), ref=head.ref)
        try:
            return head, decode(payload)
        except DECODE_ERRORS as error:
            raise InvalidMessage(self._explain(error, payload), ref=head.ref) from None

    def read_ref(self, payload: Any) -> str | None:
        """Return the ``ref`` of a message that may be wrong in every other way; None if it has none."""
        return _ref_of(self._form.read_head(payload))

    def _diagnose(self, error: Exception, payload: Any) -> InvalidMessage:
        """Say what is wrong with a message whose head cannot be read."""
        head = self._form.read_head(payload)
        decode = self._decoders.get(head.type) if isinstance(head.type, str) else None
        if decode is not None and isinstance(error, RecursionError):
            # The struct may say more: that there is no array in this place, however deep.
            try:
                decode(payload)
            except DECODE_ERRORS as better:
                error = better
        return InvalidMessage(self._explain(error, payload), ref=_ref_of(head))

    def _explain(self, error: Exception, payload: Any) -> str:
        return explain(error, payload, format_name=self._form.name, tags=self._tags)


def _decoder(struct: Any, form: Format[Any]) -> Callable[[Any], Any]:
    wire = wire_type(struct)
    if not wire.forbids_unknown:
        return form.decoder(struct)
    beside = {name for name, is_own in ((TAG, wire.is_tagged), (REF, bool(wire.ref_field))) if not is_own}
    return form.decoder_without(frozenset(beside), struct) if beside else form.decoder(struct)


def _ref_of(head: LooseHead) -> str | None:
    return head.ref if isinstance(head.ref, str) and len(head.ref) <= MAX_REF else None
