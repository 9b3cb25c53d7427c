"""What a family is fitted on, and how what came of it is kept.

Training and alignment read the day the same way, so that a model is aligned on the split that it
was trained on.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.held_out import log_days
from feature_store.steps import run_first
from training.config import Training
from training.data.histories import Histories
from training.data.splits import Data, Split, fit_facts
from training.data.vocabulary import Vocabulary
from training.fit.fitting import FitReport, Fitting, LoopSettings, Observer
from training.models import weights
from training.models.interface import Family
from training.models.weights import Kept
from training.programs.day_inputs import Inputs, split_histories, split_slates
from training.programs.errors import ProgramError, TooLittleData
from training.programs.interface import Facts, Task
from training.programs.tokenizer_input import what_it_may_not_know
from training.registry.bundle import Bundle, Origin, write_bundle
from training.registry.records import TOKENIZER_FACTS


@dataclass(frozen=True)
class TrainingData:
    """What one family is fitted on.

    Attributes:
        split: under the preset's protocol, all events.
        items: `item_index`, `item_id` of the day's catalogue.
        semantic_ids: rows of the current generation; None for a family that uses none.
        vocabulary: what `fit` sees of these.
        inputs: the tables that were read.
        data: rows of further tables, by the table's name.
    """

    split: Split
    items: pa.Table
    semantic_ids: pa.Table | None
    vocabulary: Vocabulary
    inputs: Inputs
    data: Data = field(default_factory=dict)

    @property
    def generation(self) -> str | None:
        """The semantic-ID generation; None without."""
        return self.vocabulary.generation or None


def day_training_data(task: Task) -> TrainingData:
    """The day's histories and catalogue, as a family without semantic IDs and slates sees them.

    Raises:
        ProgramError: histories or catalogue are missing.
        TooLittleData: nothing of them may be trained on.
    """
    histories, items = task.tables.histories(), task.tables.items()
    split = split_histories(histories, task.day, task.config.evaluation)
    if not split.train.num_events:
        raise TooLittleData(_nothing_to_learn(split, histories, task.day))
    inputs = task.tables.inputs_of("user_sequences", "items")
    return TrainingData(split, items, None, Vocabulary(items.num_rows), inputs)


def _nothing_to_learn(split: Split, histories: Histories, day: date) -> str:
    if "holdout_days" not in split.facts:
        return (
            f"no event up to {day} may be trained on: each person's last two events are held out, "
            "and nobody has more. Wait for more days"
        )
    days = log_days(histories.first_time, day)
    return (
        f"no event up to {day} may be trained on: the log holds {days} day(s), "
        f"of which the last {split.facts['holdout_days']} are held out "
        f"(evaluation.holdout_days) and the {split.facts['validation_days']} before them validate "
        "(evaluation.validation_days). Wait for more days, shorten these, or set "
        "evaluation.protocol: leave_last_out"
    )


def training_data_for(task: Task, family: Family, plain: TrainingData) -> TrainingData:
    """The same with what else a family reads.

    Raises:
        ProgramError: the day has nothing of what the family reads, or nobody can read it.
    """
    unknown = [name for name in family.reads if name not in READERS]
    if unknown:
        raise ProgramError(
            f"{family.name} reads {', '.join(unknown)}; what a fit can be given is"
            f" {', '.join(READERS)}"
        )
    training_data = plain
    for name in family.reads:
        training_data = READERS[name](task, training_data)
    # Other families of this run may have read more.
    reads = [name for each in family.reads for name in (each, *BESIDE.get(each, ()))]
    return replace(training_data, inputs=task.tables.inputs_of(*plain.inputs, *reads))


def loop_settings(training: Training) -> LoopSettings:
    """What the loop reads of a preset's settings."""
    return LoopSettings(**{f.name: getattr(training, f.name) for f in fields(LoopSettings)})


def fitting_of(
    task: Task, training: Training, checkpoints: Path | None, observers: tuple[Observer, ...]
) -> Fitting:
    """How a family is fitted under these settings."""
    return Fitting(
        settings=loop_settings(training),
        exclude_seen=task.config.evaluation.exclude_seen,
        positive_strength=task.config.evaluation.positive_strength,
        device=task.device,
        checkpoints=checkpoints,
        observers=observers,
    )


def read_by(training_data: TrainingData, training: Training) -> TrainingData:
    """The same with only the events that a family reads, as queries and as targets."""
    minimum = training.minimum_strength

    def is_read(histories: Histories) -> np.ndarray:
        return histories.strengths >= minimum

    data = {name: rows.keeping(is_read) for name, rows in training_data.data.items()}
    return replace(training_data, split=training_data.split.keeping(is_read), data=data)


def training_document(report: FitReport, seconds: float) -> Facts:
    """What a bundle says about its fit."""
    return {
        "settings": {},
        **report.facts,
        "epochs": report.epochs,
        "seconds": round(seconds, 3),
    }


def checkpoints_of(task: Task, name: str) -> Path:
    """Where a fit of the day, or another step, leaves what it goes on from."""
    home = task.settings.home.absolute()
    return home / "checkpoints" / task.config.name / task.day.isoformat() / name


def keep(
    task: Task,
    family: Family,
    model: Kept,
    training_data: TrainingData,
    config: Facts,
    training: Facts,
    scratch: Path,
) -> Bundle:
    """Write a fitted model's bundle below a scratch folder."""
    tokenizer = (
        task.registry.fetch_tokenizer(training_data.generation)
        if training_data.generation
        else None
    )
    return write_bundle(
        scratch / "bundle",
        origin=Origin(
            family=family.name,
            preset=task.config.name,
            day=task.day.isoformat(),
            code_revision=task.settings.resolved_code_revision,
            inputs=training_data.inputs,
            generation=training_data.generation,
        ),
        items=training_data.items,
        documents={
            "split": fit_facts(training_data.split.facts),
            "config": config,
            "training": training,
        },
        save_model=lambda directory: weights.save(model, directory),
        semantic_ids=training_data.semantic_ids,
        tokenizer=tokenizer,
    )


def _plain(task: Task, plain: TrainingData) -> TrainingData:
    return plain  # histories are what all training_data begins with


def _with_slates(task: Task, plain: TrainingData) -> TrainingData:
    slates = task.tables.slates(plain.split.test.histories)
    if slates is None:
        raise ProgramError(f"no slates up to {task.day}; {run_first('slates')}")
    slate_split = split_slates(slates, task.day, task.config.evaluation)
    facts = {**plain.split.facts, "slates": dict(slate_split.facts)}
    split = replace(plain.split, facts=facts)
    return replace(plain, split=split, data={**plain.data, "slates": slate_split})


def _with_semantic_ids(task: Task, plain: TrainingData) -> TrainingData:
    current = task.registry.find_tokenizer(until=task.day.isoformat())
    if current is None:
        raise ProgramError(f"no tokenizer for {task.day}; {run_first('tokenizer')}")
    facts = task.registry.read_json(current.run_id, TOKENIZER_FACTS)
    if leak := what_it_may_not_know(task, plain.split, facts["vectors"]):
        raise ProgramError(
            f"semantic IDs of {current.generation} can't be learnt with: {leak};"
            f" {run_first('tokenizer')}"
        )
    rows = task.tables.semantic_ids(current.generation)
    rows = rows.filter(pc.less(rows["item_index"], plain.items.num_rows))
    vocabulary = Vocabulary.with_semantic_ids(plain.items.num_rows, rows)
    # A model keeps of the vectors what it needs; its bundle holds the codes.
    codes = rows.drop_columns(["vector"])
    return replace(plain, semantic_ids=codes, vocabulary=vocabulary)


def with_pairs(task: Task, plain: TrainingData) -> TrainingData:
    """The same with every preference pair up to the day.

    Raises:
        ProgramError: there is none.
    """
    pairs = task.tables.pairs(plain.split.test.histories)
    return replace(plain, data={**plain.data, "preference_pairs": pairs})


def _with_preference_lists(task: Task, plain: TrainingData) -> TrainingData:
    known = plain.split.test.histories
    lists = task.tables.preference_lists(known)
    if lists is None:
        raise ProgramError(f"no preference lists up to {task.day}; {run_first('preference_lists')}")
    lists = lists.over_before(plain.split.train, known)
    if task.config.preference_lists.pseudo_exposures_from == "beams":
        lists = lists.without_wanted_later(plain.split.train)
    return replace(plain, data={**plain.data, "preference_lists": lists})


def _with_impressions(task: Task, plain: TrainingData) -> TrainingData:
    # A code that counts from later than what trains has no weights of its own.
    until = plain.split.facts.get("train_until")
    on = task.day + timedelta(days=1) if until is None else date.fromisoformat(until)
    impressions = task.tables.impressions(plain.split.test.histories, on=on)
    if impressions is None:
        raise ProgramError(
            f"no impressions up to {task.day}; name their fields in the preset's "
            f"impressions.fields, and {run_first('impressions')}"
        )
    return replace(plain, data={**plain.data, "impressions": impressions})


READERS: dict[str, Callable[[Task, TrainingData], TrainingData]] = {
    "user_sequences": _plain,
    "slates": _with_slates,
    "semantic_ids": _with_semantic_ids,
    "preference_pairs": with_pairs,
    "preference_lists": _with_preference_lists,
    "impressions": _with_impressions,
}
"""What a family may read, by the table's name: each adds its rows to what there is."""
BESIDE = {"impressions": ("users", "feature_vocabularies")}
"""Tables that rows of a table aren't understood without."""
