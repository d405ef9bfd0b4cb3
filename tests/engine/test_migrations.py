"""The migrations of the engine: each app's can be applied alone, whatever the app of the user model is called."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.migrations.loader import MigrationLoader

ENGINE = sorted(
    app.label for app in apps.get_app_configs() if app.name.startswith("realtime.engine.") and list(app.get_models())
)


@pytest.mark.parametrize("app", ENGINE)
def test_the_user_model_is_migrated_before_what_refers_to_it(app: str) -> None:
    loader = MigrationLoader(None)
    models = loader.project_state(loader.graph.leaf_nodes(app)).apps
    assert models.is_installed(get_user_model()._meta.app_label) or not refers_to_users(app)
    assert models.get_models()


def refers_to_users(app: str) -> bool:
    fields = [field for model in apps.get_app_config(app).get_models() for field in model._meta.get_fields()]
    return any(field.related_model is get_user_model() for field in fields)
