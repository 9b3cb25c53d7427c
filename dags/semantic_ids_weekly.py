"""Keeps the semantic IDs current; runs daily, trains weekly.

A newly trained tokenizer is a new *generation*, under which every model must be trained anew. So
it is trained rarely, while new items get their codes each day.

**Makes** `semantic_ids`. `train_tokenizer` does nothing, and says why, unless there is no
generation yet, the current one is `tokenizer.retrain_days` old, or it knows of what is held out
by now. `build_semantic_ids` then
gives codes under the current generation to the items that have none; codes once given never
change.

**Runs** when `item_embeddings`, `collaborative_vectors` and `item_cooccurrence` of a day have been
published; the day is the partition key.

## Triage

* `train_tokenizer` **exit code 1**: the quantizer could not be trained; the log has the quality
  per level. Fewer items than codes? Lower `tokenizer.codebook_size`. Until it is solved the
  current generation serves on: mark the task as succeeded, so that new items get their codes.
  (In one task with `build_semantic_ids`, by SIDEREAL_TASK_PER=dag, run that step by hand.)
* `train_tokenizer` **exit code 1** about events that are held out: `collaborative_vectors` was made
  under other settings of `evaluation` than the preset has now; run `build_collaborative_vectors`
  for the day again.
* `build_semantic_ids` **exit code 1** about another generation or a digest: the tokenizer's files
  and the table disagree. Don't mix them: restore the files, or run `train_tokenizer` for a new
  generation.
* `build_semantic_ids` **failed at once, exit code 3**: the IDs break rules of the table. The report
  and the Data Docs name the rule with examples; the IDs of before stay.
* **Many collisions in the report**: more levels or codes in the preset; `collisions:` says what
  happens to items with equal codes in the meantime.
"""

from airflow.sdk import DAG

from dags.common import launch
from dags.common.assets import once_published
from dags.common.defaults import Tag, dag_defaults

with DAG(
    dag_id="semantic_ids_weekly",
    schedule=once_published("semantic_ids_weekly"),
    doc_md=__doc__,
    tags=[Tag.WEEKLY, Tag.TRAINING, Tag.TABLES],
    **dag_defaults(),
) as dag:
    launch.tasks_of("semantic_ids_weekly")
