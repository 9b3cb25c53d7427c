"""Both revisions ingest the same files, and what fails is said."""

import json

import pytest

from benchmarks import ingestion
from benchmarks.ingestion import EARLIER, earlier_checkout, measure


@pytest.mark.exhaustive
@pytest.mark.spark
def test_both_revisions_ingest_and_are_timed(settings):
    try:
        found = measure(settings, quick=True)
    except RuntimeError as error:
        if "whole history" in str(error):
            pytest.skip(str(error))
        raise
    assert found["ours"] > 0 and set(found["peers"]) == {EARLIER}
    assert found["ratio"] == found["ours"] / found["peers"][EARLIER]
    assert set(found["parts"]) == {"csv"}
    assert all(part["seconds"] > 0 for kind in found["parts"].values() for part in kind.values())
    assert json.loads(json.dumps(found)) == found


def test_a_checkout_without_that_revision_says_so(monkeypatch):
    monkeypatch.setattr(ingestion, "EARLIER", "0" * 40)
    with (
        pytest.raises(RuntimeError, match="a clone that has the whole history"),
        earlier_checkout(),
    ):
        pass


def test_a_failed_ingestion_says_what_it_said(tmp_path):
    preset = tmp_path / "broken.yaml"
    preset.write_text("source: 3\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="ended with 2"):
        ingestion._ingest(ingestion.REPOSITORY, preset)
