"""Every step of the chain: what it reads, what it writes, what it is for.

The one list. From it come `sidereal step` and its help, the edges of the DAGs and what starts them,
the order of the report, who writes and reads a table, what a message asks to be run first, and the
picture in ARCHITECTURE.md. A step that reads or stages a table that it does not name here is
refused by the feature store. Standard library only: DAG files read this module.

An installed package adds a step, and the table that the step writes, through entry points:

    [project.entry-points."sidereal.steps"]
    count_items = "item_counts:STEP"

    [project.entry-points."sidereal.tables"]
    item_counts = "item_counts:ITEM_COUNTS"
"""

from collections.abc import Collection, Mapping
from functools import cache, partial

from feature_store.installed import STEPS_GROUP, Registry
from feature_store.step import Step, refuse_disorder, step_of_package
from feature_store.tables import CATALOG

_FITTED_ON = (
    *("user_sequences", "items", "slates", "preference_lists", "semantic_ids", "tokenizer"),
    *("users", "feature_vocabularies", "impressions"),
)
"""What a family may learn from; which of these it does, the family says."""

_STEPS = (
    Step(
        name="build_items",
        kind="spark",
        dag="interactions_daily",
        says="Bring the catalogue in; every item keeps its index for ever.",
        reads=("raw_files",),
        looks_back=("items", "interactions", "deliveries"),
        writes=("items",),
        shared_task="spark_jobs",
    ),
    Step(
        name="build_users",
        kind="spark",
        dag="interactions_daily",
        says="Bring in what the source says of people, if it does.",
        reads=("raw_files",),
        looks_back=("users",),
        writes=("users",),
        shared_task="spark_jobs",
    ),
    Step(
        name="ingest_interactions",
        kind="spark",
        dag="interactions_daily",
        says="Judge the day's delivery: publish, drop or quarantine each row.",
        reads=("raw_files", "items"),
        looks_back=("interactions", "deliveries"),
        writes=("quarantine", "interactions", "deliveries"),
        shared_task="spark_jobs",
    ),
    Step(
        name="embed_items",
        kind="spark",
        dag="features_daily",
        says="Make a vector of each new or changed item.",
        reads=("items",),
        looks_back=("item_embeddings",),
        writes=("item_embeddings",),
        shared_task="spark_jobs",
    ),
    Step(
        name="build_user_sequences",
        kind="spark",
        dag="features_daily",
        says="Write every user's history as of the day's end.",
        reads=("interactions", "items"),
        looks_back=("user_sequences",),
        writes=("user_sequences",),
        shared_task="spark_jobs",
    ),
    Step(
        name="build_slates",
        kind="spark",
        dag="features_daily",
        says="Find what was shown together.",
        reads=("interactions", "items"),
        looks_back=("slates",),
        writes=("slates",),
        shared_task="spark_jobs",
    ),
    Step(
        name="build_preference_pairs",
        kind="spark",
        dag="features_daily",
        says="Set beside each slate that was wanted one that would have been worse.",
        reads=("slates", "items", "item_embeddings"),
        looks_back=("preference_pairs",),
        writes=("preference_pairs",),
        shared_task="spark_jobs",
    ),
    Step(
        name="build_preference_lists",
        kind="spark",
        dag="features_daily",
        says="Put each slate's items in tiers of feedback, above items not shown.",
        reads=("slates", "items"),
        looks_back=("preference_lists", "sampled_beams"),
        writes=("preference_lists",),
        shared_task="spark_jobs",
    ),
    Step(
        name="build_impressions",
        kind="spark",
        dag="features_daily",
        says="Write each exposure with what was known before it, as codes, if the preset asks.",
        reads=("interactions", "user_sequences", "items", "users"),
        looks_back=("feature_vocabularies", "impressions"),
        writes=("feature_vocabularies", "impressions"),
        shared_task="spark_jobs",
    ),
    Step(
        name="build_collaborative_vectors",
        kind="spark",
        dag="features_daily",
        says="Make a vector of each item by who took to it, as far as weights may know.",
        reads=("user_sequences", "items"),
        writes=("collaborative_vectors",),
        shared_task="spark_jobs",
    ),
    Step(
        name="build_item_cooccurrence",
        kind="spark",
        dag="features_daily",
        says="Count which items are engaged with together, as far as weights may know.",
        reads=("slates", "user_sequences", "items"),
        writes=("item_cooccurrence",),
        shared_task="spark_jobs",
    ),
    Step(
        name="train_tokenizer",
        kind="training",
        dag="semantic_ids_weekly",
        says="Train a tokenizer on the day's item embeddings, when one is due.",
        reads=("item_embeddings", "collaborative_vectors", "item_cooccurrence", "user_sequences"),
        looks_back=("tokenizer", "semantic_ids"),
        writes=("tokenizer",),
        shared_task="semantic_ids",
        trains=True,
    ),
    Step(
        name="build_semantic_ids",
        kind="training",
        dag="semantic_ids_weekly",
        says="Give every item its semantic ID under the current generation.",
        reads=("tokenizer", "items", "item_embeddings"),
        looks_back=("semantic_ids", "collaborative_vectors"),
        writes=("semantic_ids",),
        shared_task="semantic_ids",
    ),
    Step(
        name="train_recommender",
        kind="training",
        dag="recommender_daily",
        says="Train the challenger (or the --family given) and keep its bundle.",
        reads=_FITTED_ON,
        looks_back=("challenger",),
        writes=("challenger",),
        shared_task="challenger",
        trains=True,
    ),
    Step(
        name="align_recommender",
        kind="training",
        dag="recommender_daily",
        says="Teach the challenger which of two slates is better, if it can learn it.",
        reads=("challenger", "preference_pairs", "item_embeddings", *_FITTED_ON),
        writes=("aligned_challenger",),
        shared_task="challenger",
        trains=True,
    ),
    Step(
        name="train_baselines",
        kind="training",
        dag="recommender_daily",
        says="Train the baselines that the challenger must face.",
        reads=_FITTED_ON,
        looks_back=("baselines",),
        writes=("baselines",),
        shared_task="baselines",
        trains=True,
        runs="training.programs.train_recommender:run",
    ),
    Step(
        name="blend_recommenders",
        kind="training",
        dag="recommender_daily",
        says="Make one bundle of two of the day's candidates, where the preset asks for it.",
        reads=("challenger", "aligned_challenger", "baselines", *_FITTED_ON),
        writes=("blend",),
        shared_task="evaluate_to_report",
    ),
    Step(
        name="evaluate_recommender",
        kind="training",
        dag="recommender_daily",
        says="Measure the day's candidates and the champion on the same users.",
        reads=(
            *("challenger", "aligned_challenger", "baselines", "blend"),
            *("user_sequences", "slates", "items", "item_embeddings"),
        ),
        looks_back=("champion",),
        writes=("evaluation",),
        shared_task="evaluate_to_report",
    ),
    Step(
        name="promote_recommender",
        kind="training",
        dag="recommender_daily",
        says="Register the challenger, ask the gate, move the aliases.",
        reads=("evaluation", "challenger", "aligned_challenger", "baselines", "blend"),
        looks_back=("champion",),
        writes=("champion",),
        shared_task="evaluate_to_report",
    ),
    Step(
        name="recommend",
        kind="training",
        dag="recommender_daily",
        says="Write the champion's recommendations of the day.",
        reads=("champion", "user_sequences", "items"),
        writes=("recommendations",),
        shared_task="evaluate_to_report",
    ),
    Step(
        name="compare_answers",
        kind="training",
        dag="recommender_daily",
        says="Ask the service and the evaluation what the table says, and fail where they differ.",
        reads=("champion", "recommendations", "user_sequences", "items"),
        writes=("agreement",),
        shared_task="evaluate_to_report",
    ),
    Step(
        name="sample_beams",
        kind="training",
        dag="recommender_daily",
        says="Write what the champion would have shown in the day's slates, if the preset asks.",
        reads=(
            *("champion", "challenger", "aligned_challenger", "tokenizer"),
            *("user_sequences", "slates", "items"),
        ),
        writes=("sampled_beams",),
        shared_task="evaluate_to_report",
    ),
    Step(
        name="write_report",
        kind="training",
        dag="recommender_daily",
        says="Write the day's HTML report, from its run records and tables.",
        reads=("recommendations", "agreement", "interactions"),
        looks_back=("user_sequences", "items"),
        writes=("report",),
        shared_task="evaluate_to_report",
    ),
)  # in the order of a day


_DAGS = tuple(dict.fromkeys(step.dag for step in _STEPS))


@cache
def steps() -> Mapping[str, Step]:
    """Every step by its name, in an order in which a day can run them.

    A step of another package comes last of its DAG's.

    Raises:
        PluginError: a package offers a step that can't be one; says of which, and why.
    """
    ours = {step.name: step for step in _STEPS}
    registry = Registry(STEPS_GROUP, ours, partial(step_of_package, dags=_DAGS, tables=CATALOG))
    found = registry.loaded().values()
    chain = {step.name: step for dag in _DAGS for step in found if step.dag == dag}
    refuse_disorder(chain)
    return chain


def steps_of(dag: str) -> tuple[Step, ...]:
    """The steps of a DAG, in an order in which they can run."""
    return tuple(step for step in steps().values() if step.dag == dag)


def dags() -> tuple[str, ...]:
    """The DAGs that have steps, upstream first."""
    return _DAGS


def producer_of(name: str) -> str | None:
    """The step that writes a table, or something of `HELD`; None where no step does.

    Example:
        >>> producer_of("slates"), producer_of("raw_files")
        ('build_slates', None)
    """
    return next((step.name for step in steps().values() if name in step.writes), None)


def consumers_of(name: str) -> tuple[str, ...]:
    """The steps besides its writer that read a table or something of `HELD`, of any day.

    Example:
        >>> consumers_of("item_cooccurrence")
        ('train_tokenizer',)
    """
    return tuple(
        step.name
        for step in steps().values()
        if name in (*step.reads, *step.looks_back) and name not in step.writes
    )


def run_first(name: str) -> str:
    """What a message about an absent input asks for.

    Args:
        name: a table, or something of `HELD`, that a step writes.
    Example:
        >>> run_first("slates")
        'run build_slates for that day first'
    """
    return f"run {producer_of(name)} for that day first"


def steps_before(name: str) -> tuple[str, ...]:
    """The steps that a step waits for; one that another of these waits for is left out.

    Example:
        >>> steps_before("blend_recommenders")
        ('align_recommender', 'train_baselines')
    """
    return _last_of(_producers(name))


def steps_making(names: Collection[str]) -> tuple[str, ...]:
    """The steps without which tables, or things of `HELD`, would not be there, in their order.

    Example:
        >>> steps_making(["user_sequences"])
        ('build_items', 'ingest_interactions', 'build_user_sequences')
    """
    writers = {writer for name in names if (writer := producer_of(name)) is not None}
    needed = writers.union(*(_all_before(writer) for writer in writers))
    return tuple(name for name in steps() if name in needed)


def tables_that_start(dag: str, tables: Collection[str]) -> tuple[str, ...]:
    """The tables of other DAGs whose publication for a day lets a DAG begin that day.

    What is published before another of these is left out.

    Args:
        dag: a DAG that has steps.
        tables: names of the catalogue; what MLflow holds starts nothing.
    Returns:
        In the order in which a day writes them; none for the DAG that begins the day.
    """
    own = {step.name for step in steps_of(dag)}
    read = {table for step in steps_of(dag) for table in step.reads if table in tables}
    writers = {table: producer_of(table) for table in read}
    elsewhere = {writer for writer in writers.values() if writer is not None and writer not in own}
    last = _last_of(elsewhere)
    return tuple(table for name in last for table in steps()[name].writes if table in read)


def _last_of(names: Collection[str]) -> tuple[str, ...]:
    """Those that none of the others comes after, in the order of the list."""
    earlier = {step for name in names for step in _all_before(name)}
    return tuple(name for name in steps() if name in names and name not in earlier)


@cache
def _all_before(name: str) -> frozenset[str]:
    direct = _producers(name)
    return direct.union(*(_all_before(each) for each in direct))


def _producers(name: str) -> frozenset[str]:
    writers = (producer_of(read) for read in steps()[name].reads)
    return frozenset(writer for writer in writers if writer is not None)
