"""Pages of lists whose positions are checked."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request


class CheckedCursorPagination(CursorPagination):
    """Accepts only the positions that this server gives out."""

    #: The syntax of a position.
    position: ClassVar[re.Pattern[str]]

    def decode_cursor(self, request: Request) -> Any:
        """Return the cursor of a request, None without one.

        Raises:
            NotFound: if the server cannot have given it out.
        """
        cursor: Any = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None and not self.position.fullmatch(cursor.position):
            raise NotFound(self.invalid_cursor_message)
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Leave out REST framework's examples, which are no addresses of this site."""
        page: dict[str, Any] = super().get_paginated_response_schema(schema)
        for name in ("next", "previous"):
            page["properties"][name].pop("example")
        return page
