"""Trains and aligns the day's challenger, lets the gate decide, and serves the champion.

**Makes** a registered bundle per family (MLflow), the alias `champion` where the gate agrees,
the `recommendations` of the day, `sampled_beams` where the preset asks for them, and the run's
report (`runs/<preset>/<day>/report.html`).

**Runs** when `preference_pairs`, `preference_lists`, `impressions` and `semantic_ids` of the same
day have been published, which come after `user_sequences`; the day is the partition key.

## Triage

* **The gate refused** is not a failure: `promote_recommender` succeeds, the champion, if there
  is one, stays and goes on recommending, and the report gives the reasons. Look into it when it
  happens on several days.
* `train_recommender` **exit code 1**: clear it; training goes on from its last checkpoint to the
  same losses. Out of memory: lower `training.tokens_per_batch`. Losses not finite: lower
  `training.learning_rate`; the report of the last good day has its curves for comparison.
* `align_recommender` **stopped early** is no failure: the alignment ruined more than its bounds
  allow, the record and the report say what, and the challenger stays as it was trained. It happens
  when pairs are few or all alike: look at what `build_preference_pairs` made, then lower
  `alignment.learning_rate_share`.
* `blend_recommenders` **exit code 1**: a part of `models.blend` was not trained for the day; clear
  the task that trains it. Without `models.blend` the step does nothing.
* `evaluate_recommender` **or** `recommend` **exit code 1** about a digest or a generation: a
  bundle's parts don't belong together. `sidereal models verify` names the file; nothing was
  served.
* `recommend` **failed at once, exit code 3**: the champion's lists break rules of the table; the
  report and the Data Docs name the rule with users. Yesterday's recommendations stay. Roll back
  (below), then clear the task.
* `recommend` **says that there are no lists**: the champion ranks alone, as a preset wants whose
  gate asks for feedback. `sidereal serve` answers with it; `models.blend` orders lists by it.
* `sample_beams` **says that there are no beams**: no model reads the current semantic IDs, or the
  day has no slates. `build_preference_lists` of the next day draws items instead.
* **A bad champion got through**: `sidereal models rollback` moves the alias back to `previous`,
  with your reason; then clear the day's task that runs `recommend`. The gate does not promote
  again what a person rolled back.
"""

from airflow.sdk import DAG

from dags.common import launch
from dags.common.assets import once_published
from dags.common.defaults import Tag, dag_defaults

with DAG(
    dag_id="recommender_daily",
    schedule=once_published("recommender_daily"),
    doc_md=__doc__,
    tags=[Tag.DAILY, Tag.TRAINING],
    **dag_defaults(),
) as dag:
    launch.tasks_of("recommender_daily")
