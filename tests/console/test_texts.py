"""What the live page's socket says in English is in the catalogue by which the page shows it in another language."""

from __future__ import annotations

import ast

import pytest

from tests.translations import ROOT, marked

CONSOLE = ROOT / "realtime/console"
#: What is made of a text that a person reads, its last argument.
SAYING = ("Done", "Refused", "HandshakeRejected")


@pytest.mark.parametrize("module", ["consumers.py", "monitor.py"])
def test_an_answer_has_a_translation_or_is_that_of_another_module(module: str) -> None:
    calls = [node for node in ast.walk(ast.parse((CONSOLE / module).read_text())) if isinstance(node, ast.Call)]
    answers = [call.args[-1] for call in calls if getattr(call.func, "id", "") in SAYING]
    assert not [answer for answer in answers if isinstance(answer, ast.JoinedStr)]
    texts = {(answer.value,) for answer in answers if isinstance(answer, ast.Constant)}
    assert len(texts) > 1
    assert texts <= marked(CONSOLE, "djangojs")
