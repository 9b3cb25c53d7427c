"""Run records of days, and what is read back of a report's page."""

from datetime import date
from html.parser import HTMLParser

from feature_store.run_record import write_step
from feature_store.settings import Settings
from tests.evaluation_records import around, comparison, entrant, evaluation
from training.config import TrainingConfig
from training.evaluation.record import Interval
from training.programs import write_report
from training.programs.interface import Task

DAY = date(1998, 4, 20)
PRESET = "movielens-100k"


def measured(*, challenger_metric=0.1, differences=(), **changes):
    """An evaluation: tiger against popularity, nobody among the new items."""
    values = {name: around(0.1) for name in ("ndcg@10", "hr@10", "mrr", "ndcg@5", "hr@5")}
    own = {name: around(0.11) for name in values}
    own |= {"ndcg@10": Interval(0.05, challenger_metric, 0.2)}
    entrants = {
        label: entrant(label, lists=found, slices=("new_items:",), num_users=30)
        for label, found in (("tiger", own), ("popularity", values))
    }
    rows = [comparison("tiger", "popularity", "ndcg@10", (0.01, 0.02, 0.03)), *differences]
    about = {"warnings": ("the champion is <older>",), "baselines": ("popularity",), **changes}
    return evaluation(entrants, rows, **about)


def record(**changes):
    """The facts of evaluate_recommender."""
    return measured(**changes).to_json()


def verdict(decision, promoted, **more):
    """The facts of promote_recommender."""
    reason = {"rule": "floor", "passed": promoted is not None, "detail": "0.1 against <0.05>"}
    challenger = {"challenger": "tiger", "reasons": [reason]}
    return {"verdict": {"decision": decision, "promoted": promoted, **challenger}, **more}


def whole_day(**changes):
    """Records of a day on which every step ran, with little in them."""
    names = ("build_items", "build_users", "embed_items", "build_user_sequences", "build_slates")
    names += ("build_impressions", "build_preference_pairs", "build_preference_lists")
    names += ("build_collaborative_vectors", "build_item_cooccurrence", "train_tokenizer")
    names += ("build_semantic_ids", "train_recommender", "align_recommender", "train_baselines")
    steps = {name: {"status": "done"} for name in (*names, "recommend", "compare_answers")}
    ingest = {"status": "done", "rows_in": 12, "published": 9, "duplicates": 2, "quarantined": 1}
    return {
        **steps,
        "ingest_interactions": ingest,
        "evaluate_recommender": record(warnings=()),
        "promote_recommender": verdict("promote", "tiger", champion_version=2, previous_version=1),
        **changes,
    }


def report_of(home, steps, day=DAY, **more):
    """The page that is written for a day with these records."""
    settings = Settings(home=home)
    runs = settings.runs_of(PRESET)
    for name, facts in steps.items():
        write_step(runs, day, name, {"seconds": 1.5, **facts})
    task = Task(settings, TrainingConfig(name=PRESET), day, step="write_report")
    facts = write_report.run(task, **more)
    page = (runs / day.isoformat() / "report.html").read_text(encoding="utf-8")
    assert facts["bytes"] == len(page.encode())
    return page


class Page(HTMLParser):
    """What a page shows, what it would load, and where it leads."""

    def __init__(self, page):
        super().__init__()
        self.loaded, self.links, self.anchors, self.texts = [], [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value)
            if name == "href" and tag == "a":
                self.links.append(value)
            elif name in ("src", "href", "xlink:href") and value and not value.startswith("#"):
                self.loaded.append(value)

    def handle_data(self, data):
        if data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def text(self):
        return " ".join(self.texts)
