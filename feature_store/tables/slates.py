"""slates: what a user was shown together, in order, with what came of it."""

from feature_store.contract import Column, Contract

SLATES = Contract(
    name="slates",
    grain="one request or session of a user, or a part of a long one; at least 2 items",
    key=("day", "slate_id"),
    partition="day",
    order=("user_id", "started_at", "slate_id"),
    columns=(
        Column(
            name="day",
            type="date",
            meaning="the day whose run sees all of the slate: its local date where "
            "`slates.utc_offset_hours` is 0 or more, else the date after",
        ),
        Column(
            name="slate_id",
            type="string",
            meaning="MD5 of user, source, day, request or session, and part; the same in every run",
        ),
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(name="started_at", type="timestamp", meaning="the first exposure, UTC"),
        Column(name="ended_at", type="timestamp", meaning="the last exposure, UTC"),
        Column(
            name="item_indices",
            type="list<int>",
            minimum=0,
            meaning="the items in the order shown, each once, at its first place; ties by "
            "item_index",
        ),
        Column(
            name="strengths",
            type="list<int>",
            minimum=-1,
            maximum=3,
            meaning="strongest feedback on each item, aligned with item_indices; 0 = exposed only",
        ),
        Column(
            name="dwell_seconds",
            type="list<float>",
            minimum=0,
            may_be_nan=True,
            meaning="longest time spent on each item, aligned with item_indices; NaN: not known",
        ),
        Column(
            name="source",
            type="string",
            allowed=("request", "gap", "day"),
            meaning="what held the items together: a logged request, a session that ended with a "
            "gap, or a local day",
        ),
    ),
)
