from __future__ import annotations

import pytest

from realtime.engine.protocol.close import (
    MAX_REASON_BYTES,
    Advice,
    CloseCode,
    is_sendable,
    truncate_reason,
)


def test_every_code_has_a_meaning_and_an_advice() -> None:
    assert all(isinstance(code.advice, Advice) and code.meaning.endswith(".") for code in CloseCode)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (1000, Advice.STOP),
        (1012, Advice.RECONNECT),
        (3000, Advice.RENEW),
        (3003, Advice.STOP),
    ],
)
def test_advice(code: int, advice: Advice) -> None:
    assert CloseCode(code).advice is advice


def test_the_codes_that_may_stand_in_a_frame() -> None:
    allowed = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    assert {code for code in range(-10, 6000) if is_sendable(code)} == allowed


REASONS = [
    ("", ""),
    ("short", "short"),
    ("x" * 123, "x" * 123),
    ("x" * 124, "x" * 123),
    ("é" * 62, "é" * 61),
    ("x" * 122 + "é", "x" * 122),
    ("😀" * 31, "😀" * 30),
    ("a\ud800b", "a?b"),
]


@pytest.mark.parametrize(("reason", "cut"), REASONS)
def test_a_reason_is_cut_to_the_frame_at_a_character_boundary(reason: str, cut: str) -> None:
    assert truncate_reason(reason) == cut
    assert len(cut.encode()) <= MAX_REASON_BYTES
