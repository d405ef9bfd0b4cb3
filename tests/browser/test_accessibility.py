"""The login against the rules of axe-core."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_login_has_no_violation(new_page, violations, scheme):
    page = await new_page(color_scheme=scheme, reduced_motion="reduce")
    assert await violations(page) == []
