"""Requests that are made from the OpenAPI page, right and wrong, are never answered by a 5xx."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service_world import bundle_of, follower_of, register, service_of
from tests.training.test_promotion_programs import NEXT_DAY, another, published
from training.service.app import make_app

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def page(mlflow_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    task = another(published(mlflow_settings, folder), day=NEXT_DAY)
    version = register(task, bundle_of("unigrf", folder / "bundle"))
    task.registry.promote(version, day=NEXT_DAY.isoformat(), reason="test")
    follower = follower_of(task)
    follower.look()
    yield schemathesis.openapi.from_asgi("/openapi.json", make_app(service_of(follower), ""))
    counts = follower.metrics.page().decode()
    for path in ("/v1/recommend", "/v1/rank"):
        for status in (200, 422):
            assert f'path="{path}",status="{status}"' in counts, "it tried the right and the wrong"


schema = schemathesis.pytest.from_fixture("page")


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_is_answered_by_a_server_error(case):
    case.call_and_validate(checks=CHECKS)
