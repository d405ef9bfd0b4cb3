"""docs/typed-messages.md is true: its endpoint answers as it is printed, and its hooks run."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
from django.core.exceptions import ObjectDoesNotExist

from realtime.engine import MessageRefused
from realtime.engine.testing import PROJECT_ROOT, connect

TEXT = (PROJECT_ROOT / "docs" / "typed-messages.md").read_text()


def printed(name: str, **names: Any) -> dict[str, Any]:
    """Run the code block of this name, and return what it defines."""
    [source] = re.findall(rf"```python\n# {name}\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(source, name, "exec", dont_inherit=True), names)
    return names


async def test_the_endpoint_answers_as_it_is_printed() -> None:
    rows = re.findall(r"^> (.*)\n< (.*)$", TEXT, re.MULTILINE)
    assert len(rows) == 5
    endpoint = printed("an endpoint")["PollConsumer"]
    async with connect(endpoint) as socket:
        for sent, answer in rows:
            await socket.send(sent)
            assert json.loads(await socket.transport.receive()) == json.loads(answer)


async def test_the_hooks_run(caplog: pytest.LogCaptureFixture) -> None:
    names = printed("an endpoint")
    hooks = printed(
        "hooks",
        **{name: names[name] for name in ("PollConsumer", "Vote", "Tally")},
        MessageRefused=MessageRefused,
        ObjectDoesNotExist=ObjectDoesNotExist,
        logger=logging.getLogger("realtime.test"),
    )
    async with connect(hooks["AuditedConsumer"]) as socket:
        with pytest.raises(MessageRefused, match="inactive"):
            await socket.request(names["Vote"]("a"))  # an anonymous user is not active
        socket.consumer.user.is_active = True
        assert await socket.request(names["Vote"]("a")) == names["Tally"]({"a": 1})
        socket.consumer.vote = _not_there
        with pytest.raises(MessageRefused, match="not_found"):
            await socket.request(names["Vote"]("a"))


async def _not_there(message: Any) -> None:
    raise ObjectDoesNotExist
