"""user_sequences: every user's history as it stood at the end of a day."""

from feature_store.contract import Column, Contract

USER_SEQUENCES = Contract(
    name="user_sequences",
    grain="one user with at least one event before the end of the day",
    key=("day", "user_id"),
    partition="day",
    order=("user_id",),
    producer="build_user_sequences",
    consumers=("train_recommender", "evaluate_recommender", "recommend", "write_report"),
    columns=(
        Column(name="day", type="date", meaning="the history holds events before the day's end"),
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(
            name="item_indices",
            type="list<int>",
            minimum=0,
            meaning="the last `sequences.max_events` items, oldest first; ties in time by "
            "item_index",
        ),
        Column(
            name="strengths",
            type="list<int>",
            minimum=-1,
            maximum=3,
            meaning="strength of each event, aligned with item_indices",
        ),
        Column(
            name="event_times",
            type="list<timestamp>",
            meaning="time of each event, aligned with item_indices, never decreasing",
        ),
        Column(
            name="num_events",
            type="long",
            minimum=1,
            meaning="events of the user in all, before the cut to `sequences.max_events`",
        ),
    ),
)
