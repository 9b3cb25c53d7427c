from feature_store.contract import Column, Contract
from feature_store.rules import RowRule
from feature_store.step import Step

ITEM_COUNTS = Contract(
    name="item_counts",
    grain="one item that was engaged with on the day",
    key=("day", "item_id"),
    partition="day",
    order=("item_id",),
    columns=(
        Column(name="day", type="date", meaning="of the events"),
        Column(name="item_id", type="string", meaning="as in items"),
        Column(name="events", type="long", minimum=1, meaning="how many there were"),
    ),
    rules=lambda inputs: (
        RowRule(
            name="no_item_is_a_robots",
            column="events",
            description="No item has 1,000 events or more in a day.",
            condition="events < 1000",
        ),
    ),
)
STEP = Step(
    name="count_items",
    kind="spark",
    dag="features_daily",
    says="Count the day's events of each item.",
    reads=("interactions",),
    writes=("item_counts",),
    shared_task="spark_jobs",
    runs="item_counts.job:JOB",
)
