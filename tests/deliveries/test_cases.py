"""Every small delivery that once went wrong, through the real steps, with its right answer."""

import pytest

from tests.deliveries.cases import CASES, through

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("deliveries"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cases(shared_data):
    """The folder of cases; absent on most machines."""
    folder = shared_data / "cases"
    if not folder.is_dir():
        pytest.skip(f"no small deliveries at {folder}")
    return folder


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CASES)
def test_a_delivery_that_once_went_wrong_gives_its_right_answer(name, cases, spark, tmp_path):
    found = []
    for _, outcome, wrong in through(cases / name, CASES[name], tmp_path):
        found += [*wrong, *([outcome.output] if wrong else [])]
    assert not found, "\n".join(found)


def test_every_case_has_its_answer_here(cases):
    folders = {folder.name for folder in cases.iterdir() if folder.is_dir()}
    assert folders == set(CASES)
