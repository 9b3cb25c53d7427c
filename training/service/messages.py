"""What is sent and what comes back, as JSON; `/openapi.json` is made of these."""

from datetime import date
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_EVENTS = 10_000
"""Events of a history that is sent."""
MOST_CANDIDATES = 1_000
"""Items that are ranked in one request."""
MOST_PLACES = 200
"""Items of a list: who reads more waits for a night's table."""
NAMED = 100
"""Unknown items that an answer names; it counts all."""
LAST_SECOND = 253_402_300_799
"""The end of the year 9999, in seconds since 1970."""

ItemId = Annotated[str, Field(min_length=1, max_length=500)]
Seconds = Annotated[int, Field(ge=0, le=LAST_SECOND)]
Strength = Annotated[int, Field(ge=-1, le=3)]

_USER: dict[str, Any] = {"user_id": "42", "k": 5}
_HISTORY: dict[str, Any] = {
    "item_ids": ["50", "181", "100"],
    "strengths": [3, 2, 3],
    "event_times": [893286638, 893286700, 893286800],
    "asked_at": 893287000,
    "k": 5,
}
_CANDIDATES: dict[str, Any] = {"item_ids": ["50", "181"], "candidates": ["1", "7", "121"]}


class Request(BaseModel):
    """Whose next items are asked about: a user of the stored histories, or a history that is sent.

    Exactly one of `user_id` and `item_ids` is there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    user_id: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """A user of the newest day's histories."""
    item_ids: Annotated[list[ItemId], Field(max_length=MOST_EVENTS)] | None = None
    """A history, oldest event first; empty: nothing is known of the person."""
    strengths: Annotated[list[Strength], Field(max_length=MOST_EVENTS)] | None = None
    """Feedback of each event, from -1 (disliked) to 3; without it all of it is 3."""
    event_times: Annotated[list[Seconds], Field(max_length=MOST_EVENTS)] | None = None
    """When each event happened, seconds since 1970 (UTC); without them, when it is asked."""
    asked_at: Seconds | None = None
    """When it is asked, seconds since 1970 (UTC); without it, as the daily table asks: after a
    stored history at its day's midnight or at its last event, after a sent one at its last event.
    """

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if (self.user_id is None) == (self.item_ids is None):
            raise ValueError("send either user_id or item_ids (a history, which may be empty)")
        for name, values in (("strengths", self.strengths), ("event_times", self.event_times)):
            if values is None:
                continue
            if self.item_ids is None or len(values) != len(self.item_ids):
                raise ValueError(f"{name} must be as many as item_ids")
        times = self.event_times or []
        if times != sorted(times):
            raise ValueError("event_times must not decrease: the oldest event comes first")
        if times and self.asked_at is not None and self.asked_at < times[-1]:
            raise ValueError("asked_at lies before the last event")
        return self


class RecommendRequest(Request):
    """Which items come next."""

    model_config = ConfigDict(json_schema_extra={"examples": [_USER, _HISTORY]})

    k: Annotated[int, Field(ge=1, le=MOST_PLACES)] | None = None
    """Places of the list; without it, as many as in the daily table. Beyond the catalogue: as
    many items as may be answered."""
    exclude_seen: bool | None = None
    """Whether items of the history are left out; without it, as in the daily table."""


class RankRequest(Request):
    """How likely positive feedback is on each of some items, were it the next."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CANDIDATES]})

    candidates: Annotated[list[ItemId], Field(min_length=1, max_length=MOST_CANDIDATES)]
    """Items."""


class Answer(BaseModel):
    """Who answered, and what of the request it could not use."""

    model_config = ConfigDict(protected_namespaces=())

    model_family: str
    model_version: int
    """Of the registry."""
    bundle_digest: str
    """SHA-256 of the bundle."""
    generation: str | None
    """Of the semantic IDs; null where the family uses none."""
    history_day: date | None
    """The day whose stored history was read; null where the history was sent."""
    num_events: int
    """Events of the history, unknown items included."""
    num_unknown_items: int
    """Ids of the request that the model doesn't know; it answers without them."""
    unknown_items: list[str]
    """The first hundred of them."""


class Recommendation(Answer):
    """A list or slate, best first; shorter than k where no further item may be answered."""

    item_ids: list[str]
    scores: list[float]
    """The model's own, never increasing."""
    is_ranked: bool
    """Whether the scores are probabilities of positive feedback, and the order theirs."""


class Ranking(Answer):
    """Probabilities in the order of the candidates."""

    item_ids: list[str]
    """The candidates."""
    probabilities: list[float | None]
    """Of positive feedback; null for an item that the model doesn't know, or that is withheld."""
    withheld_items: list[str]
    """Candidates that may not be answered: the catalogue no longer lists them, or they are
    withheld."""


class Refusal(BaseModel):
    """Why there is no answer."""

    error: str
    """What was wrong, what was expected."""


class State(BaseModel):
    """What serves."""

    model_config = ConfigDict(protected_namespaces=())

    status: str
    """`ready`, or why not."""
    preset: str
    model_family: str | None = None
    model_version: int | None = None
    bundle_digest: str | None = None
    generation: str | None = None
    answers: list[str] = []
    """What it can be asked: lists, slates, feedback."""
    history_day: date | None = None
    """The day of the stored histories."""
    num_users: int = 0
    """Users with a stored history."""
    num_withheld: int = 0
    """Items that nobody is answered."""
