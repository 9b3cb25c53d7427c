"""Small inputs of every kind: exit code, message, and each row counted where it went.

Inputs that come to what an earlier one of their kind comes to are `exhaustive`.
"""

import pytest

from tests.deliveries.corpus import CORPUS, first_of_their_outcomes, outcomes
from tests.deliveries.night import go_through

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("deliveries"), pytest.mark.timeout(300)]

INPUTS = {f"{kind}: {each.name}": each for kind, inputs in CORPUS.items() for each in inputs}
FIRST = first_of_their_outcomes()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in FIRST else pytest.mark.exhaustive) for n in INPUTS],
)
def test_a_small_input_gives_its_right_answer(name, spark, tmp_path):
    wrong = []
    for _, outcome, found in go_through(INPUTS[name], tmp_path):
        wrong += [*found, *([outcome.output] if found else [])]
    assert not wrong, "\n".join(wrong)


def test_there_are_inputs_of_every_kind_and_each_has_a_name_of_its_own():
    assert len(INPUTS) == sum(map(len, CORPUS.values())) >= 80
    assert min(map(len, CORPUS.values())) >= 10


def test_what_every_run_of_the_tests_takes_in_shows_all_outcomes_of_every_kind():
    for kind, inputs in CORPUS.items():
        shown = {
            each for case in inputs if f"{kind}: {case.name}" in FIRST for each in outcomes(case)
        }
        assert shown == {each for case in inputs for each in outcomes(case)}
