"""Limits in a frozen dataclass, whose fields a Django setting changes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

__all__ = ["configured_limits"]

T = TypeVar("T")


def configured_limits(kind: type[T], setting: str) -> Callable[[], T]:
    """Return a function that returns the limits in force. It reads the setting once.

    Args:
        kind: a frozen dataclass of numbers, all with a default.
        setting: name of a Django setting, a dict that changes fields of ``kind``.

    The function raises ``ImproperlyConfigured`` if the setting has an unknown name or a number that is not over 0.
    """

    @functools.cache
    def limits() -> T:
        configured: dict[str, Any] = getattr(settings, setting, {})
        known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
        for name, value in configured.items():
            if name not in known:
                raise ImproperlyConfigured(f"{setting}: {name!r} is not one of {', '.join(sorted(known))}")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise ImproperlyConfigured(f"{setting}[{name!r}] must be a number over 0, not {value!r}")
        return kind(**configured)

    def forget(*, setting: str, **_: Any) -> None:
        if setting == name_of_setting:
            limits.cache_clear()

    name_of_setting = setting
    setting_changed.connect(forget, weak=False, dispatch_uid=f"realtime.limits.{setting}")
    return limits
