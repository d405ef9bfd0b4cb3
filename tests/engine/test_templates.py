"""The engine has every page that it answers with: a project may have others of the same name, and needs none."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.test import override_settings


@pytest.mark.parametrize("name", ["unavailable", "too_many_attempts"])
def test_a_page_is_the_projects_where_it_has_one_and_the_engines_where_not(name: str, tmp_path) -> None:
    (tmp_path / "realtime").mkdir()
    (tmp_path / f"realtime/{name}.html").write_text("ours")
    for folders, expected in ([tmp_path], "ours"), ([], "<h1>"):
        with override_settings(TEMPLATES=[{**settings.TEMPLATES[0], "DIRS": folders}]):
            assert expected in render_to_string(f"realtime/{name}.html", {"minutes": 3})
