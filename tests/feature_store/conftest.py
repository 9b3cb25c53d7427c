"""A small partitioned table and a store on it, for the storage tests."""

import datetime as dt

import pyarrow as pa
import pytest

from feature_store.contract import Column, Contract
from feature_store.settings import Settings
from feature_store.store import FeatureStore

DAY_1, DAY_2, DAY_3 = (dt.date(1998, 4, day) for day in (15, 16, 17))

CLICKS = Contract(
    name="clicks",
    grain="one click",
    key=("day", "user_id", "place"),
    partition="day",
    order=("user_id",),
    columns=(
        Column(name="day", type="date", meaning="day of the click"),
        Column(name="user_id", type="string", meaning="who"),
        Column(name="place", type="int", meaning="where"),
        Column(name="note", type="string", nullable=True, meaning="what else"),
    ),
)
SHOPS = Contract(
    name="shops",
    grain="one shop",
    key=("shop_id",),
    order=("shop_id",),
    columns=(
        Column(name="shop_id", type="string", meaning="which"),
        Column(name="tags", type="list<string>", meaning="what it sells"),
    ),
)
CONTRACTS = {contract.name: contract for contract in (CLICKS, SHOPS)}


class Shelf:
    """A store with short ways to publish rows of its two tables."""

    def __init__(self, settings: Settings, contracts=CONTRACTS) -> None:
        self.settings = settings
        self.store = FeatureStore.open(settings, "shop", contracts)

    def clicks(self, day: dt.date, *users: str, note: str | None = None) -> pa.Table:
        return pa.table(
            {
                "day": pa.array([day] * len(users), pa.date32()),
                "user_id": pa.array(users, pa.string()),
                "place": pa.array(range(len(users)), pa.int32()),
                "note": pa.array([note] * len(users), pa.string()),
            }
        )

    def staged(self, day: dt.date, *users: str, note: str | None = None):
        stage = self.store.stage("clicks", day=day, job="count_clicks")
        stage.write(self.clicks(day, *users, note=note))
        return stage

    def publish(self, day: dt.date, *users: str, note: str | None = None, **how):
        return self.store.publish(self.staged(day, *users, note=note), **how)

    def publish_shops(self, *shops: str, day: dt.date = DAY_1, **how):
        stage = self.store.stage("shops", day=day, job="list_shops")
        stage.write(pa.table({"shop_id": list(shops), "tags": [["a", "b"]] * len(shops)}))
        return self.store.publish(stage, **how)

    def users(self, at=None, partition=None) -> list[str]:
        return self.store.read("clicks", at, partition)["user_id"].to_pylist()


@pytest.fixture
def shelf(tmp_path):
    """A store in a new folder, with the tables `clicks` (by day) and `shops` (unpartitioned)."""
    return Shelf(Settings(home=tmp_path / "home", code_revision="abc123"))
