"""Which failures the DAGs try again."""

import pytest
from airflow.sdk import RetryAction


@pytest.fixture
def policy():
    from dags.common.retries import UnlessHopeless

    return UnlessHopeless()


def decide(policy, message):
    return policy.evaluate(RuntimeError(message), try_number=1, max_tries=2)


@pytest.mark.parametrize(
    "message",
    [
        "Cannot execute: spark-submit submit.py ingest. Error code is: 3.\nLast output",
        "train_tokenizer ended with exit code 3\nrefused",
        "Pod p returned a failure.\nremote_pod: {'terminated': {'exit_code': 3, 'finished_at': 1}}",
    ],
)
def test_refused_data_fails_at_once_whoever_reports_it(policy, message):
    decision = decide(policy, message)
    assert decision.action is RetryAction.FAIL
    assert "the data were refused" in decision.reason


def test_a_mistake_in_the_preset_fails_at_once(policy):
    decision = decide(policy, "build_items ended with exit code 2")
    assert decision.action is RetryAction.FAIL
    assert "preset" in decision.reason


@pytest.mark.parametrize("message", ["x ended with exit code 1", "exit code -9", "connection lost"])
def test_everything_else_is_left_to_the_retries(policy, message):
    assert decide(policy, message).action is RetryAction.DEFAULT


def test_the_policy_survives_serialization(policy):
    assert type(policy).deserialize(policy.serialize()).evaluate(ValueError(), 1, 2) is not None
