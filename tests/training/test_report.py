import re
from datetime import date
from html.parser import HTMLParser

import pytest

from feature_store.run_record import write_step
from feature_store.settings import Settings
from tests.evaluation_records import around, comparison, entrant, evaluation
from training.config import TrainingConfig
from training.evaluation.record import Interval
from training.programs import write_report
from training.programs.interface import ProgramError, Task
from training.report import charts, sections
from training.report.blocks import shown

DAY = date(1998, 4, 20)


def record(*, challenger_metric=0.1, **changes):
    """The facts of evaluate_recommender: tiger against popularity, nobody among the new items."""
    values = {name: around(0.1) for name in ("ndcg@10", "hr@10", "mrr", "ndcg@5", "hr@5")}
    own = values | {"ndcg@10": Interval(0.05, challenger_metric, 0.2)}
    entrants = {
        label: entrant(label, lists=found, slices=("new_items:",), num_users=30)
        for label, found in (("tiger", own), ("popularity", values))
    }
    rows = [comparison("tiger", "popularity", "ndcg@10", (0.01, 0.02, 0.03))]
    about = {"warnings": ("the champion is <older>",), **changes}
    return evaluation(entrants, rows, **about).to_json()


def verdict(decision, promoted):
    reason = {"rule": "floor", "passed": promoted is not None, "detail": "0.1 against <0.05>"}
    return {
        "verdict": {
            "decision": decision,
            "promoted": promoted,
            "challenger": "tiger",
            "reasons": [reason],
        }
    }


class Links(HTMLParser):
    """Everything a page would fetch, and what text it shows."""

    def __init__(self):
        super().__init__()
        self.fetched, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.fetched += [
            value
            for name, value in attrs
            if name in ("src", "href", "xlink:href") and value and not value.startswith("#")
        ]

    def handle_data(self, data):
        self.text.append(data)


def report_of(home, steps):
    settings = Settings(home=home)
    for name, facts in steps.items():
        write_step(settings.runs_of("movielens-100k"), DAY, name, {"seconds": 1.5, **facts})
    task = Task(settings, TrainingConfig(name="movielens-100k"), DAY, step="write_report")
    facts = write_report.run(task)
    page = (settings.runs_of("movielens-100k") / DAY.isoformat() / "report.html").read_text(
        encoding="utf-8"
    )
    assert facts["bytes"] == len(page.encode())
    return page


def test_a_report_shows_the_verdict_the_metrics_and_the_data_and_fetches_nothing(tmp_path):
    page = report_of(
        tmp_path,
        {
            "ingest_interactions": {
                "rows_in": 12, "published": 9, "duplicates": 2, "quarantined": 1,
                "reasons": {"user_id is empty": 1},
            },
            "embed_items": {"alarms": ["7 of 7 items have no text"]},
            "evaluate_recommender": record(),
            "promote_recommender": verdict("promote", "tiger"),
        },
    )  # fmt: skip
    parser = Links()
    parser.feed(page)
    text = " ".join(parser.text)
    assert parser.fetched == []
    assert "tiger was promoted to champion" in text
    assert "0.1 against <0.05>" in text  # escaped in the page, readable as text
    assert "the champion is <older>" in text
    assert "user_id is empty" in text
    assert "embeddings: 7 of 7 items have no text" in text
    assert page.count("<svg") >= 3


def test_a_report_says_with_what_each_fit_began(tmp_path):
    started = {"day": "2024-03-30", "digest": "abc", "reason": None}
    fits = {"higr": {"seconds": 2.0, "warm_start": started}, "sasrec": {"seconds": 3.0}}
    parser = Links()
    parser.feed(report_of(tmp_path, {"train_recommender": {"families": fits}}))
    text = [part.strip() for part in parser.text if part.strip()]
    place = text.index("begins with")
    assert text[place - 1] == "family"
    assert text[text.index("higr", place) + 1] == "weights of 2024-03-30"
    assert text[text.index("sasrec", place) + 1] == "nothing"


def test_a_report_of_half_a_day_has_the_half_that_ran(tmp_path):
    page = report_of(tmp_path, {"ingest_interactions": {"rows_in": 12, "published": 12}})
    assert 'id="data"' in page
    assert 'id="verdict"' not in page
    assert 'id="metrics"' not in page


def test_equal_records_give_equal_pages(tmp_path):
    steps = {"evaluate_recommender": record(), "promote_recommender": verdict("refuse", None)}
    first = report_of(tmp_path / "a", steps)
    assert first == report_of(tmp_path / "b", steps)


def test_a_day_without_records_is_refused(tmp_path):
    task = Task(Settings(home=tmp_path), TrainingConfig(name="x"), DAY, step="write_report")
    with pytest.raises(ProgramError, match=r"no step has run for 1998-04-20 .* run the day first"):
        write_report.run(task)


@pytest.mark.parametrize(
    ("decision", "promoted", "tone", "headline"),
    [
        ("promote", "tiger", "good", "tiger was promoted to champion"),
        ("promote_baseline", "sasrec", "warn", "sasrec, a baseline, was promoted"),
        ("unchanged", None, "good", "The champion stays"),
        ("refuse", None, "bad", "tiger was refused"),
    ],
)
def test_the_verdict_says_what_happened(decision, promoted, tone, headline):
    section = sections.verdict({"promote_recommender": verdict(decision, promoted)})
    assert section.tone == tone
    assert section.headline.startswith(headline)


def test_a_refusal_leaves_the_champion_there_is_or_none():
    refused = verdict("refuse", None)
    first = sections.verdict({"promote_recommender": {**refused, "champion_version": None}})
    assert first.headline == (
        "tiger was refused; there is no champion yet, and nothing to recommend"
    )
    later = sections.verdict({"promote_recommender": {**refused, "champion_version": 3}})
    assert later.headline == "tiger was refused; the champion before it stays"


def test_the_best_entrant_is_marked_in_its_table():
    section = sections.metrics({"evaluate_recommender": record(challenger_metric=0.15)})
    table = next(block for block in section.blocks if block.heading == "All targets")
    assert [row.tone for row in table.rows] == ["best", ""]


def test_slices_without_users_are_left_out():
    section = sections.metrics({"evaluate_recommender": record()})
    assert not any("new items" in block.heading for block in section.blocks)


def test_the_metric_that_decides_stands_first():
    section = sections.metrics({"evaluate_recommender": record(primary_metric="mrr")})
    table = next(block for block in section.blocks if block.heading == "All targets")
    assert table.head[:4] == ["entrant", "mrr", "interval", "ndcg@10"]
    usual = sections.metrics({"evaluate_recommender": record()})
    table = next(block for block in usual.blocks if block.heading == "All targets")
    assert table.head == ["entrant", "ndcg@10", "interval", "hr@10", "mrr", "ndcg@5", "hr@5"]


def test_a_section_says_what_its_metrics_mean():
    section = sections.metrics({"evaluate_recommender": record()})
    assert section.blocks[-1].note == (
        "ndcg@K: 1 / log2(rank + 1) of targets in the first K places; hr@K: share of targets in "
        "the first K places; mrr: 1 / rank of targets in the whole list."
    )


def test_a_report_of_an_older_versions_evaluation_says_what_to_run(tmp_path):
    old = {"entrants": {"tiger": {}}}
    with pytest.raises(ProgramError, match=r"1998-04-20: the evaluation is a record of version 1"):
        report_of(tmp_path, {"evaluate_recommender": old})


def test_failed_rules_come_with_their_examples():
    rule = {
        "table": "interactions", "rule": "values_in_range", "column": "strength",
        "success": False, "rows_failed": 2,
        "observed": "7", "expected": "-1 to 3", "examples": ["user 5: 7"], "description": "…",
    }  # fmt: skip
    record = {"seconds": 10.0, "validation": {"seconds": 2.0, "rules": [rule]}}
    section = sections.validation({"ingest_interactions": record})
    entries = [entry.text for block in section.blocks for entry in block.entries]
    assert entries == ["values_in_range: user 5: 7"]
    shares = [fact.value for block in section.blocks for fact in block.facts]
    assert shares[-1] == "20%"


def test_cost_is_seconds_times_price():
    section = sections.cost({"recommend": {"seconds": 1800.0}}, price_per_hour=2.0)
    assert section.blocks[0].facts[1].value == "1.0000"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (1234567, "1,234,567"), (0.12345, "0.1235"), (1500.0, "1,500"), ("a", "a")],
)
def test_numbers_are_shown_as_people_read_them(value, text):
    assert shown(value) == text


def test_pictures_are_plain_svg_with_text_that_can_be_searched():
    svg = charts.code_usage([[3, 0, 1], [2, 2, 0]])
    assert svg.startswith("<svg")
    assert "level 1: 2 of 3 used" in svg
    assert not re.search(r'(href|src)="(?!#)', svg)


def two_task_fit(alarms=()):
    epochs = [
        {"epoch": n, "loss": 9.0, "validation": 0.1, "loss_retrieval": 6.0 / n,
         "loss_ranking": 0.7 / n, "validation_auc": 0.6, "share_ranking": 0.5}
        for n in (1, 2)
    ]  # fmt: skip
    return {"epochs": epochs, "alarms": list(alarms)}


def test_a_fit_of_two_tasks_shows_both_and_its_alarms():
    fits = {"unigrf": two_task_fit(["AUC fell from 0.8 to 0.7"]), "popularity": {}}
    section = sections.training({"train_recommender": {"families": fits}})
    pictures = [block for block in section.blocks if block.heading.startswith("Both tasks")]
    assert "validation AUC" in pictures[0].svg
    entries = [entry.text for block in section.blocks for entry in block.entries]
    assert entries == ["unigrf: AUC fell from 0.8 to 0.7"]
    quiet = sections.training({"train_recommender": {"families": {"popularity": {}}}})
    assert not any(block.entries or block.svg for block in quiet.blocks)
