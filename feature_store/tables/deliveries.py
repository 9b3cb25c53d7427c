"""deliveries: what each run took, file by day: how a later run tells what is new or missing."""

from feature_store.contract import Column, Contract

DELIVERIES = Contract(
    name="deliveries",
    grain="one day's delivery, or one day of a log that holds many, as one run took it",
    key=("day", "events_of"),
    partition="day",
    order=("events_of",),
    columns=(
        Column(name="day", type="date", meaning="the day whose run took it"),
        Column(
            name="events_of",
            type="date",
            nullable=True,
            meaning="the day that was delivered; of a log, the UTC date of the events; null: the "
            "rows of a log that have no usable time",
        ),
        Column(name="rows", type="long", minimum=0, meaning="raw rows"),
        Column(name="quarantined", type="long", minimum=0, meaning="of them, refused"),
        Column(
            name="digest",
            type="string",
            nullable=True,
            meaning="of a log: equal for equal rows in any order, so that a day that changed "
            "is told from one that didn't",
        ),
    ),
)
