"""``/healthz`` and ``/readyz``: is the process alive, and should it get traffic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from channels.layers import get_channel_layer
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

__all__ = ["healthz", "readyz", "register_readiness_check"]

#: Seconds that one check may take; a hung database is an answer, not a hung request.
CHECK_TIMEOUT = 1.5

Check = Callable[[], Awaitable[None]]


@require_safe
async def healthz(request: HttpRequest) -> HttpResponse:
    """Answer 200 while the event loop turns; restart the process when this does not answer."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
async def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when every check passes, else 503; each with its outcome and time in milliseconds."""
    names = list(CHECKS)
    results = await asyncio.gather(*(_run(CHECKS[name]) for name in names))
    ready = all(result["ok"] for result in results)
    return JsonResponse(
        {"ready": ready, "checks": dict(zip(names, results, strict=True))},
        status=200 if ready else 503,
        headers={"Cache-Control": "no-store"},
    )


async def _run(check: Check) -> dict[str, Any]:
    start = time.perf_counter()
    problem = None
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            await check()
    except TimeoutError:
        problem = f"no answer within {CHECK_TIMEOUT} s"
    except Exception as error:  # noqa: BLE001  whatever a check raises is its outcome, and is reported
        problem = type(error).__name__
    result: dict[str, Any] = {"ok": problem is None, "ms": round((time.perf_counter() - start) * 1000, 1)}
    return result if problem is None else {**result, "problem": problem}


async def _check_channel_layer() -> None:
    """Send a message to a channel of our own and get it back; ask the layer for its upstream, where it has one."""
    layer = get_channel_layer()
    if hasattr(layer, "check"):
        await layer.check()
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "health.check"})
    await layer.receive(channel)


CHECKS: dict[str, Check] = {"channel_layer": _check_channel_layer}


def register_readiness_check(name: str, check: Check) -> None:
    """Add a check to ``/readyz``.

    Args:
        name: its key in the answer.
        check: raises when this process should get no traffic. It fails as well after ``CHECK_TIMEOUT`` seconds. The
            answer has the name of the exception's class and nothing else of it.
    """
    CHECKS[name] = check
