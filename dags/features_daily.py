"""Turns the day's interactions into what the models read.

**Makes** `item_embeddings` (a vector per item, under the preset's encoder; only new or changed
items are encoded), `user_sequences` of the day (every user's history as of the day's end), `slates`
(what was shown together), and from these `preference_pairs` (each slate that was wanted beside
worse ones), `preference_lists` (each slate's items in tiers of feedback, above items that weren't
shown), `impressions` with `feature_vocabularies` (each exposure with what was known before it, as
codes, where the preset names `impressions.fields`), `collaborative_vectors` (a vector per item,
by who took to it) and `item_cooccurrence` (what is engaged with together); of the last two nothing
that is held out is a part.

**Runs** when `interactions` and `users` of a day have been published; the day is the partition key.

## Triage

* `build_user_sequences` **exit code 3**: a sequence rule failed on what was staged: events out of
  order, an item index that no catalogue row has, a user without events. Look at `interactions` of
  the day first; the previous day's sequences stay in place and the models train on them.
* `embed_items` **exit code 1**: mostly the encoder: a hub model that can't be fetched, or no
  memory (lower `embedding.batch_size`). `user_sequences` doesn't wait for it,
  `semantic_ids_weekly` does.
* `build_preference_pairs` **exit code 3, the audit**: pairs would hold what nobody could know
  when the slate began. The log counts them by rule. Almost always `slates` of the day is wrong:
  run `build_slates` again, then this. Nothing was published; models align on the days before.
* `build_preference_lists` **exit code 3, the audit**: the same of lists, or a tier would hold what
  is of another. The remedy is the same. Where it names beams, `sampled_beams` of the day before is
  wrong: run `sample_beams` of that day again.
* `build_impressions` **exit code 3, the audit**: codes of the named fields would say more, or less,
  than what was known before the exposures. Run `build_user_sequences` again, then this. Nothing was
  published; rankers learn from the days before.
* `build_impressions` **built all days anew**: `impressions` of the preset, or
  `slates.utc_offset_hours`, says something else than the day before; the record says `built_anew`.
* `build_collaborative_vectors` **exit code 3, leakage audit**: vectors would know of events that
  are held out. Almost always `user_sequences` of the day is wrong: run `build_user_sequences`
  again, then this. Nothing was published; `semantic_ids_weekly` waits.
* `build_collaborative_vectors` **says that no item has a vector**: the log is as short as what is
  held out of it. Semantic IDs are made of content until it is longer.
* `build_preference_pairs` **made few pairs**: its run record counts what was not made, by kind and
  reason. *All engaged*: the source logs no exposures, set `preferences.interest` to 0. *Only one
  chosen*: slates are short, see `slates` in the preset. *No embedding*: `embed_items` is behind.
* `build_preference_lists` **lacks pseudo-exposures**: the catalogue of the day is small, or its
  users had been shown most of it; the record says how many are missing.
* **Slates, pairs or co-occurrence look thin**: `groups_shorter_than_2` in the record of
  `build_slates` says how many sessions had a single item. A pause that is too short
  (`slates.gap_minutes`) or a wrong `slates.utc_offset_hours` cuts sessions apart.
* **A day was left out**: the next run builds its slates, pairs and lists with its own.
* **Slow**: an earlier day was re-published, so sequences were built from all interactions and not
  from yesterday's; the log says which day. The next day is fast again.
"""

from airflow.sdk import DAG

from dags.common import launch
from dags.common.assets import once_published
from dags.common.defaults import Tag, dag_defaults

with DAG(
    dag_id="features_daily",
    schedule=once_published("features_daily"),
    doc_md=__doc__,
    tags=[Tag.DAILY, Tag.SPARK, Tag.TABLES],
    **dag_defaults(),
) as dag:
    launch.tasks_of("features_daily")
