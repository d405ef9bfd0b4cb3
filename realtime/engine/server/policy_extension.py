"""The ASGI extension ``websocket.policy``, as the server announces it."""

from __future__ import annotations

from typing import Any, Self

#: The version that is announced.
VERSION = "1"


class PolicyExtension(dict[str, Any]):
    """The ASGI extension ``websocket.policy`` of one connection: what the application may call, by name.

    A copy of the scope, as middleware may make one, offers the same. In another process there is no connection: a
    pickled scope keeps the version only.
    """

    __slots__ = ()

    def __init__(self, **calls: Any) -> None:
        super().__init__(calls, version=VERSION)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[type[dict[str, str]], tuple[dict[str, str]]]:
        return dict, ({"version": VERSION},)
