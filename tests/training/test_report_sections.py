from dataclasses import replace

import pytest

from tests.evaluation_records import around
from tests.report_days import whole_day
from training.registry.records import Move, Version
from training.report.blocks import Entry, shown
from training.report.brief import Brief
from training.report.sections.champion import champions
from training.report.sections.checks import checks
from training.report.sections.cost import cost
from training.report.sections.data import data
from training.report.sections.fits import alignment, training
from training.report.sections.lineage import lineage
from training.report.sections.people import Person, people
from training.report.sections.tokenizer import tokenizer
from training.report.sections.trend import trend


def entries_of(section):
    return [entry.text for block in section.blocks for entry in block.entries]


def facts_of(section):
    return {fact.label: fact.value for block in section.blocks for fact in block.facts}


def tables_of(section):
    return [block for block in section.blocks if block.kind == "table"]


RULE = {
    "table": "interactions", "rule": "values_in_range", "column": "strength", "success": False,
    "rows_failed": 2, "observed": "7", "expected": "-1 to 3", "examples": ["user 5: 7"],
    "description": "…",
}  # fmt: skip


def test_failed_rules_come_with_their_examples_and_the_others_are_folded():
    passed = {**RULE, "rule": "day_has_rows", "success": True}
    record = {"seconds": 10.0, "validation": {"seconds": 2.0, "rules": [RULE, passed]}}
    section = checks({"ingest_interactions": record}, [])
    assert entries_of(section) == ["values_in_range: user 5: 7"]
    assert facts_of(section)["share of the steps' time"] == "20%"
    failed, every = tables_of(section)
    assert [row.cells[1:3] for row in failed.rows] == [["interactions", "values_in_range"]]
    assert every.folded == "Rules that hold: 1"
    assert [row.cells[2] for row in every.rows] == ["day_has_rows"]
    assert checks({"build_items": {}}, []) is None


def test_the_share_of_the_rules_is_of_the_steps_that_worked():
    record = {"seconds": 10.0, "validation": {"seconds": 2.0, "rules": [RULE]}}
    before = {**record, "seconds": 0.1, "status": "unchanged"}
    section = checks({"build_slates": before, "ingest_interactions": record}, [])
    assert facts_of(section)["share of the steps' time"] == "20%"
    assert facts_of(section)["seconds added"] == "2.0"
    assert facts_of(checks({"build_slates": before}, []))["share of the steps' time"] == "–"


def test_the_checks_lead_to_the_days_data_docs():
    docs = [Entry("items", address="../x.html")]
    record = {"validation": {"seconds": 0.0, "rules": [RULE]}}
    blocks = checks({"build_items": record}, docs).blocks
    assert [block.entries for block in blocks if block.kind == "links"] == [docs]


def test_the_account_of_a_delivery_has_what_it_changed():
    ingest = {"rows_in": 12, "published": 9, "duplicates": 2, "quarantined": 1}
    ingest |= {"added": 4, "corrected": 5, "withdrawn": 0, "reasons": {"a": 1, "b": 3}}
    section = data({"ingest_interactions": ingest}, None)
    assert facts_of(section) == {
        "rows delivered": "12", "published": "9", "duplicates dropped": "2", "quarantined": "1",
        "events added": "4", "corrected": "5",
    }  # fmt: skip
    assert [row.cells for row in tables_of(section)[0].rows] == [["b", 3], ["a", 1]]
    assert data({"ingest_interactions": {"status": "failed"}}, None) is None


def test_a_delivery_that_only_adds_is_not_counted_twice():
    ingest = {"rows_in": 9, "published": 9, "added": 9, "withheld": 2}
    found = facts_of(data({"ingest_interactions": ingest}, None))
    assert "events added" not in found
    assert found["withheld with their day"] == "2"


def test_the_rules_about_volume_say_how_usual_the_day_is():
    rule = {**RULE, "rule": "rows_against_trailing_days", "success": True}
    ingest = {"rows_in": 1, "validation": {"rules": [rule, RULE]}}
    volume = {"days": ["1998-04-20"], "counts": {3: [1]}}
    [table] = tables_of(data({"ingest_interactions": ingest}, volume))
    assert [row.cells for row in table.rows] == [["…", "7", "-1 to 3", True]]


QUALITY = {
    "items": 9, "reconstruction_mse": 0.01,
    "collision": {"share": 0.25, "largest_bucket": 3},
    "levels": [{"counts": [3, 0], "used_codes": 1, "largest_share": 0.5, "perplexity": 2,
                "conditional_entropy_nats": 1.5, "residual_share": 0.4}],
    "held_out": {"items": 2, "purity": [{"cosine": 0.5}],
                 "consistency": [{"random": 0.1, "agreement": 0.3, "lift": 3.0}]},
}  # fmt: skip


def test_semantic_ids_are_told_from_the_step_that_gave_them():
    steps = {"train_tokenizer": {"quality": {**QUALITY, "items": 1}, "message": "made"}}
    steps |= {"build_semantic_ids": {"quality": QUALITY, "message": "9 new", "points": [[0, 1, 2]]}}
    section = tokenizer(steps)
    assert facts_of(section)["items"] == "9"
    assert section.say == "Made. 9 new."
    assert [block.folded for block in section.blocks if block.folded] == [
        "Consistency of 2 items that a twin's fit left out",
        "A map of the items: embeddings on their two main axes",
    ]
    assert tokenizer({}) is None


def test_what_each_choice_of_vectors_is_worth_is_shown_with_the_border():
    found = {"pairs_met": 1200, "met": 0.84, "pairs_unseen": 12}
    border = {"protocol": "rolling", "trained_until": "1998-03-11", "events": 81114}
    read = {"read": "both", "border": border, "items_taken_to": 1625}
    worth = {"text": {**found, "met": 0.66}, "both": {**found, "unseen": 0.77}}
    steps = {"train_tokenizer": {"quality": QUALITY, "vectors": {**read, "worth": worth}}}
    *_, told, table = tokenizer(steps).blocks
    assert "before 1998-03-11: 81,114 events of 1,625 items" in told.note
    assert [row.cells for row in table.rows] == [
        ["text", "0.6600", "–", "1,200", "12"],
        ["both (read)", "0.8400", "0.7700", "1,200", "12"],
    ]


def epoch(number, **more):
    return {"epoch": number, "loss": 9.0, "validation": 0.1, "seconds": 1.0, **more}


def test_a_report_says_with_what_each_fit_began_and_how_fast_it_was():
    epochs = [
        epoch(1, steps=10, tokens_per_second=100.4),
        epoch(2, steps=10, tokens_per_second=300.4),
    ]
    fits = {
        "higr": {"seconds": 2.04, "warm_start": {"day": "2024-03-30"}, "epochs": epochs},
        "item_knn": {"seconds": 3.0, "epochs": []},
    }
    [table] = tables_of(training({"train_recommender": {"families": fits}}))
    rows = [dict(zip(table.head, row.cells, strict=True)) for row in table.rows]
    assert rows[0] == {
        "family": "higr", "begins with": "weights of 2024-03-30", "epochs": "2", "steps": "20",
        "tokens a second": "200", "seconds": "2.0", "ended": "–",
    }  # fmt: skip
    assert rows[1]["begins with"] == "nothing"
    assert rows[1]["ended"] == "counted, not trained by epochs"


def two_task_fit(alarms=()):
    epochs = [
        epoch(n, loss_retrieval=6.0 / n, loss_ranking=0.7 / n, validation_auc=0.6,
              share_ranking=0.5)
        for n in (1, 2)
    ]  # fmt: skip
    return {"epochs": epochs, "alarms": list(alarms)}


def test_a_fit_of_two_tasks_shows_both_and_its_alarms():
    fits = {"unigrf": two_task_fit(["AUC fell from 0.8 to 0.7"]), "popularity": {}}
    section = training({"train_recommender": {"families": fits}})
    pictures = [block for block in section.blocks if block.heading.startswith("Both tasks")]
    assert "validation AUC" in pictures[0].svg
    assert entries_of(section) == ["unigrf: AUC fell from 0.8 to 0.7"]
    quiet = training({"train_recommender": {"families": {"popularity": {}}}})
    assert not any(block.entries or block.svg for block in quiet.blocks)


def test_an_alignment_is_folded_until_it_is_stopped():
    record = {
        "alignment": {"method": "orpo"}, "before": {"validation": 6.0, "validation_loss": 6.0},
        "epochs": [{"epoch": 1, "validation_loss": 7.0}], "train_pairs": {"interest": 1200},
        "collapsed": "", "best_epoch": 1,
    }  # fmt: skip
    section = alignment({"align_recommender": record})
    assert section.folded == "orpo on 1,200 pairs; epoch 1 is kept"
    assert [row.cells for row in tables_of(section)[0].rows] == [
        ["validation loss", "6.00", "7.00"]
    ]  # fmt: skip
    stopped = alignment({"align_recommender": {**record, "collapsed": "coverage fell"}})
    assert stopped.folded == ""
    assert entries_of(stopped) == ["stopped: coverage fell"]


def test_cost_is_seconds_times_price_and_without_one_a_note():
    steps = whole_day(recommend={"seconds": 1800.0})
    assert facts_of(cost(steps, price_per_hour=2.0))["cost, in your currency"] == "1.00"
    section = cost(steps, price_per_hour=0.0)
    assert list(facts_of(section)) == ["seconds of work", "of them in recommend"]
    assert "SIDEREAL_MACHINE_COST_PER_HOUR" in section.blocks[-1].note
    assert cost({}, 0.0) is None


def lineage_row(code):
    names = ("table", "rows", "snapshot", "made by", "day", "from")
    return {**dict.fromkeys(names, "x"), "code": code}


def test_the_code_stands_in_the_table_only_where_it_differs():
    one = lineage([lineage_row("abc"), lineage_row("abc")], "shop")
    assert "code" not in one.blocks[0].head
    assert "`sidereal tables lineage recommendations --preset shop`" in one.say
    assert one.say.endswith("All were made by the code abc.")
    assert "code" in lineage([lineage_row("abc"), lineage_row("def")], "shop").blocks[0].head
    assert lineage([], "shop") is None


def test_the_champions_of_before_are_told_newest_first():
    version = Version(
        number=2, run_id="r", day="1998-04-20", family="tiger", digest="d", aliases=(), verdicts={}
    )
    moves = [
        Move(kind=kind, day=f"1998-04-2{n}", from_version=n or None, to_version=n + 1, digest="d",
             reason="because", milliseconds=n, finished=True)
        for n, kind in enumerate(("promote", "promote", "rollback", "promote"))
    ]  # fmt: skip
    first, folded = tables_of(champions(moves, [version]))
    assert first.rows[1].cells == ["1998-04-22", "model 3", "tiger 2", "rolled back", "because"]
    assert folded.rows[0].cells[:3] == ["1998-04-20", "model 1", "nobody"]
    assert folded.folded == "Moves before these: 1"
    assert champions([], []) is None


def test_the_champions_are_drawn_against_their_references():
    moves = [
        Move(kind="promote", day="1998-04-01", from_version=None, to_version=1, digest="d",
             reason="because", milliseconds=0, finished=True)
    ]  # fmt: skip
    briefs = [
        Brief(day=f"1998-04-0{n}", kind="refused", sentence=".", metric="ndcg@10",
              lead=around(-0.03 * n), champion_lead=-0.02)
        for n in range(1, 4)
    ]  # fmt: skip
    drawn = champions(moves, [], briefs, 0.05).blocks[0]
    assert drawn.kind == "picture"
    assert "-9.0% against the reference on 1998-04-03, budget -5.0%" in drawn.svg
    for nothing in (champions(moves, [], briefs, None), champions(moves, [], briefs[:1], 0.05)):
        assert [block.kind for block in nothing.blocks] == ["table"]
    by_another = [replace(brief, metric="auc") for brief in briefs[:2]]
    assert champions(moves, [], [*by_another, briefs[2]], 0.05).blocks[0].kind == "table"


def test_people_see_what_they_did_beside_what_they_get():
    person = Person(
        user_id="7", num_events=1200, last=[("A", 3), ("B", -1)], recommended=["C", "D"]
    )
    [table] = tables_of(people([person], "tiger 2", ""))
    assert table.rows[0].cells == ["7", "1,200", "A · − B", "C · D"]
    many = tables_of(people([person] * 10, "tiger 2", ""))
    assert [len(block.rows) for block in many] == [3, 7]
    assert people([], "tiger 2", "") is None
    asked_again = people([person], "tiger 2", "table, service and evaluation agree: 1 people")
    assert asked_again.say.endswith("Asked again, table, service and evaluation agree: 1 people.")


def test_a_trend_begins_with_the_second_run():
    briefs = [
        Brief(day=f"1998-04-{n:02}", kind="promoted", sentence=".", strengths={3: n, -1: 1})
        for n in range(1, 41)
    ]
    assert trend(briefs[:1]) is None
    assert trend(briefs).title == "The last 30 runs"
    assert "<title>The last 30 runs, up to 1998-04-40</title>" in trend(briefs).blocks[0].svg


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (1234567, "1,234,567"), (0.12345, "0.1235"), (1500.0, "1,500"), ("a", "a")],
)
def test_numbers_are_shown_as_people_read_them(value, text):
    assert shown(value) == text
