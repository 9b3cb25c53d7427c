"""Brings a day's raw feedback into the tables. Everything later waits for what this DAG emits.

**Makes** `items` (the catalogue, with its dense item index), `users` (what the source says of
people, if it does), then `interactions` and `quarantine` of the day. Rows in = rows published +
duplicates dropped + rows quarantined, always.

**Runs** each night for the day before (UTC). A past day: trigger it with that day as the
partition key (`%Y-%m-%d`), in the UI or by

    POST /api/v2/dags/interactions_daily/dagRuns
    {"logical_date": null, "partition_key": "1998-04-20"}

Running a day again gives the same rows, and commits nothing where nothing changed.

Days that were missed: `sidereal run --from 1998-04-18 --to 1998-04-20`, or the POST above with
`"conf": {"first_day": "1998-04-18"}`. The days are brought in one after the other; what comes later
starts once, for the last of them.

## Triage

* `ingest_interactions` **failed at once, exit code 3**: validation refused the day. Nothing was
  published; readers see yesterday's table. The log names the rule, the number of rows and three
  examples; the Data Docs have all of them. Half a delivery (`volume`)? Ask the source for the
  rest and clear the task. The source really changed (`strength_mix`)? Adjust `validation:` in the
  preset.
* **A day was quarantined to more than `quarantine_share`**: look at `quarantine` of the day,
  column `reasons`: a renamed column or a new unit at the source shows as one reason for all rows.
* `build_items` **failed with exit code 2**: the preset's `source:` does not fit the files; the
  message has the path of each wrong key or column.
* `build_users` **exit code 3**: the file on people has other columns, broken lines, or nobody in
  it; the message names them. Nothing of people changed. Deliver it again, then clear the task.
* **Exit code 1**: infrastructure (disk, catalog, Spark). Retries come by themselves; a crash
  before the commit changed nothing that a reader sees, so clearing the task is always safe.
"""

from airflow.sdk import DAG

from dags.common import launch
from dags.common.defaults import Tag, dag_defaults, daily_schedule

with DAG(
    dag_id="interactions_daily",
    schedule=daily_schedule(),
    doc_md=__doc__,
    tags=[Tag.DAILY, Tag.SPARK, Tag.TABLES],
    **dag_defaults(),
) as dag:
    launch.tasks_of("interactions_daily", fills=True)
