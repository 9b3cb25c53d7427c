"""Turns the day's interactions into what the models read.

**Makes** `item_embeddings` (a vector per item, under the preset's encoder; only new or changed
items are encoded) and `user_sequences` of the day (every user's history as of the day's end).

**Runs** when `interactions` of a day has been published; the day is the partition key.

## Triage

* `build_user_sequences` **exit code 3**: a sequence rule failed on what was staged: events out of
  order, an item index that no catalogue row has, a user without events. Look at `interactions` of
  the day first; the previous day's sequences stay in place and the models train on them.
* `embed_items` **exit code 1**: mostly the encoder: a hub model that can't be fetched, or no
  memory (lower `embedding.batch_size`). `user_sequences` doesn't wait for it,
  `semantic_ids_weekly` does.
* **Slow**: an earlier day was re-published, so sequences were built from all interactions and not
  from yesterday's; the log says which day. The next day is fast again.
"""

from airflow.sdk import DAG, PartitionedAssetTimetable

from dags.common import launch
from dags.common.assets import ASSETS
from dags.common.defaults import Tag, dag_defaults

with DAG(
    dag_id="features_daily",
    schedule=PartitionedAssetTimetable(assets=ASSETS["interactions"]),
    doc_md=__doc__,
    tags=[Tag.DAILY, Tag.SPARK, Tag.TABLES],
    **dag_defaults(),
) as dag:
    launch.spark_job("embed_items")
    launch.spark_job("build_user_sequences")
