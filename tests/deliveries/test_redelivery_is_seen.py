"""What a redelivery changed can be looked at afterwards."""

import json

import pytest

from tests.deliveries.inputs.reading import TWO, D
from tests.deliveries.night import Home, Night
from tests.deliveries.presets import own
from tests.deliveries.written import csv, row

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("deliveries"), pytest.mark.timeout(300)]


def test_tables_diff_shows_what_a_redelivery_changed(spark, tmp_path):
    home = Home(tmp_path, own())
    versions = []
    for content in (TWO, csv([row("u1", liked=0), row("u3", minute=5), row("u4", minute=6)])):
        outcome = home.take(Night(files={f"{D}.csv": content}))
        assert outcome.exit_code == 0, outcome.output
        versions.append(outcome.store.snapshot_id("interactions"))
    code, said = home.run(
        "tables",
        "diff",
        "interactions",
        *map(str, versions),
        "--preset",
        str(home.preset),
        "--json",
    )
    assert code == 0, said
    facts, _ = json.JSONDecoder().raw_decode(said)  # what was logged follows
    assert (facts["rows_added"], facts["rows_removed"]) == (3, 2)
