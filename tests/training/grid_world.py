"""A small table on a preset of its own over the small world."""

import itertools

import yaml

from feature_store.store import FeatureStore
from tests.recommender_world import DAY
from tests.training.test_train_recommender import publish_world
from training.experiments.request import Request
from training.experiments.table import LEAVE_LAST_OUT, Fit, Row, Table

_NAMES = itertools.count()
SMALL = {"width": 16, "num_layers": 1, "num_heads": 1}
SASREC = Fit(of="sasrec")
TABLE = Table(
    name="small",
    says="neighbours and popularity",
    rows=(
        Row(name="knn", fits=(Fit(of="item_knn"),)),
        Row(name="sasrec", fits=(SASREC,)),
        Row(name="popularity", fits=(Fit(of="popularity"),)),
    ),
    metrics=("ndcg@10", "hr@10"),
    comparisons=(("knn", "popularity"), ("sasrec", "popularity")),
    compared=("ndcg@10",),
    settings={"": (*LEAVE_LAST_OUT, "evaluation.cutoffs=[5, 10]")},
)


def request_on_a_world(settings, cells, table=TABLE, **world):
    """A request for a table on a preset that no other test has."""
    name = f"world-{next(_NAMES)}"
    sections = {
        "name": name,
        "models": {"settings": {"sasrec": SMALL, "unigrf": SMALL}},
        "training": {"max_epochs": 2, "tokens_per_batch": 512, "max_history": 20},
        "evaluation": {"bootstrap_samples": 200},
    }
    settings.presets.mkdir(exist_ok=True)
    path = settings.presets / f"{name}.yaml"
    path.write_text(yaml.safe_dump(sections), encoding="utf-8")
    publish_world(FeatureStore.open(settings, name), **world)
    return Request(table=table, settings=settings, preset=name, name=name, day=DAY, cells=cells)
