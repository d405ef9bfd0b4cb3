"""The limits of topics, and what ``manage.py check`` says about them."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from realtime.engine.topics.apps import check_limits
from realtime.engine.topics.limits import Limits, limits


def test_a_setting_changes_limits_until_it_changes_again() -> None:
    with override_settings(REALTIME_TOPICS={"newest": 20}):
        assert limits() == Limits(newest=20)
    assert limits() == Limits()


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"newst": 10}, "'newst' is not one of batch, grace"),
        ({"newest": 0}, "must be a number over 0, not 0"),
        ({"newest": "10"}, "must be a number over 0, not '10'"),
        ({"newest": True}, "must be a number over 0, not True"),
    ],
)
def test_a_wrong_limit_is_an_error_of_the_check(setting: dict[str, Any], problem: str) -> None:
    assert check_limits() == []
    with override_settings(REALTIME_TOPICS=setting):
        with pytest.raises(ImproperlyConfigured, match=problem):
            limits()
        [error] = check_limits()
    assert error.id == "realtime.E004"
