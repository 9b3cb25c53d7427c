"""What a source says of people → users, one row each."""

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from feature_store.tables.users import USERS
from pipelines.schema import typed


def one_per_user(rows: DataFrame) -> DataFrame:
    """People without rows that lack an id, one row each: of several the one that says the most.

    Of equals the first in the order of their attributes: the same whatever the order of the file.

    Args:
        rows: user_id, attributes.
    """
    best = Window.partitionBy("user_id").orderBy(
        F.size("attributes").desc(), F.map_entries("attributes")
    )
    ranked = rows.where(F.col("user_id").isNotNull())
    return ranked.withColumn("_rank", F.row_number().over(best)).where("_rank = 1").drop("_rank")


def extend_users(users: DataFrame, delivered: DataFrame, *, day: date) -> DataFrame:
    """The users with what was delivered, and those who are new.

    Who isn't delivered any more keeps what was said. A run of an earlier day than the one that
    brought somebody's attributes leaves them.

    Args:
        users: rows of `users` as published.
        delivered: user_id and attributes, as `one_per_user` gives them.
        day: the run's.
    """
    fresh = delivered.select("user_id", F.col("attributes").alias("_new"))
    joined = users.join(fresh, "user_id", "full")
    said = F.map_entries("attributes"), F.map_entries("_new")
    differs = F.array_sort(said[0]) != F.array_sort(said[1])
    is_new = F.col("first_day").isNull()
    takes = is_new | (F.col("_new").isNotNull() & differs & (F.col("changed_day") <= F.lit(day)))
    return joined.select(
        "user_id",
        typed(F.coalesce("first_day", F.lit(day)), USERS, "first_day"),
        typed(F.when(takes, F.lit(day)).otherwise(F.col("changed_day")), USERS, "changed_day"),
        F.when(takes, F.col("_new")).otherwise(F.col("attributes")).alias("attributes"),
    )
