"""What every test of live connections needs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from django.db import connections


@pytest.fixture(autouse=True)
async def _closed_connections(transactional_db: None) -> AsyncIterator[None]:
    """Close the connection of the thread in which asynchronous queries run; PostgreSQL drops no database in use."""
    yield
    await sync_to_async(connections.close_all)()
