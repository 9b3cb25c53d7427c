"""Keeps the preset's tables small.

Expires snapshots past their keeping time and deletes files that no snapshot names, such as what
a crashed job had staged.

**Makes** nothing new. Snapshots tagged with a day within the keeping time stay readable by that
day.

**Runs** on Sundays at 04:00 UTC, when no daily run is expected; the catalog lets one writer at
a time commit, so an overlap costs waiting and not data. `sidereal run`, whose Airflow ends with
the day, leaves this DAG paused and tidies by itself once a week of data.

## Triage

* **Exit code 1, catalog locked**: another run holds it; the retry comes by itself.
* **Exit code 1, storage**: the warehouse is read-only or can't be reached; the message has the
  path.
* **A snapshot that you need was expired**: it can't be read any more. Run the day again: the rows
  are the same, by the rules of time.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from dags.common import launch
from dags.common.defaults import Tag, dag_defaults, preset

with DAG(
    dag_id="maintenance_weekly",
    schedule=CronTriggerTimetable("0 4 * * 0", timezone="UTC"),
    doc_md=__doc__,
    tags=[Tag.WEEKLY, Tag.TABLES],
    **dag_defaults(),
) as dag:
    launch.command("maintain_tables", ["sidereal", "tables", "maintain", "--preset", preset()])
