"""`sidereal reproduce`: experiments whose tables this repository quotes, each one command.

Every dataset gets a home of its own below `var/reproduce`, filled by the same jobs and programs as
the daily run, so that a table says something about the code that runs at night.
"""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from feature_store import options
from feature_store.choices import OneOf

if TYPE_CHECKING:
    from feature_store.settings import Settings
    from training.config import TrainingConfig
    from training.programs.interface import Task
    from training.reproduce.higr_slates import Table

VECTOR_STEPS = ("build_items", "ingest_interactions", "embed_items", "build_user_sequences")
DATA_STEPS = (*VECTOR_STEPS, "train_tokenizer", "build_semantic_ids")
SLATE_STEPS = (*DATA_STEPS, "build_slates", "build_preference_pairs")
LAST_DAYS = {
    "movielens-100k": date(1998, 4, 22),
    "amazon-office": date(2014, 7, 23),
    "kuairand": date(2022, 5, 8),
}
"""The day after whose end a preset's public data holds nothing more."""


@click.group()
def reproduce() -> None:
    """Run a published experiment and write its table to var/reproduce."""


@reproduce.command()
@options.preset
@click.option("--day", type=options.DAY, help="Data up to the end of this day.")
@click.option("--only", multiple=True, help="Families to fit; default: tiger and the baselines.")
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2), show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@options.overrides
def baselines(
    preset: str,
    day: date | None,
    only: tuple[str, ...],
    seeds: tuple[int, ...],
    device: str,
    overrides: tuple[str, ...],
) -> None:
    """Every family on one dataset: leave-last-out, full catalogue, several seeds.

    Writes var/reproduce/baselines-PRESET.{json,md}, or with --set baselines-PRESET-DIGEST. Cells
    that are there already, under the same settings, are not fitted again: a stopped run goes on
    where it was.
    """
    from feature_store.preset import preset_name
    from feature_store.settings import Settings

    outer = Settings()
    known = preset_name(preset, folder=outer.presets, overrides=overrides)
    last = day or LAST_DAYS.get(known)
    if last is None:
        raise click.UsageError(f"--day is needed: nothing says where the data of {known} ends")
    root, name = outer.home.absolute() / "reproduce", _named(known, overrides)
    settings = outer.model_copy(update={"home": root / name, "data": outer.data_path})
    _build_tables(preset, last, settings.home, settings.data_path, overrides)
    own = ("evaluation.cutoffs=[5, 10, 50]", "evaluation.protocol=leave_last_out")
    overrides = (*own, *overrides)
    rows, text = _measure(settings, preset, last, overrides, only, seeds, device)
    path = root / f"baselines-{name}"
    path.with_suffix(".json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    click.echo(text)
    click.echo(f"wrote {path}.json and {path}.md")


@reproduce.command()
@click.option(
    "--dataset",
    required=True,
    type=OneOf(["movielens-1m", "movielens-100k"]),
    help="Whose settings, and whose published figures.",
)
@click.option(
    "--path",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the dataset's own files, which are read as they are; default: where "
    "`sidereal fetch` puts them, fetched if need be.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Rows to fit; default: all of them.")
@click.option("--epochs", type=click.IntRange(min=1), help="Most epochs of any fit.")
@click.option("--seed", "seeds", multiple=True, type=int, default=(0,), show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--keep-seen", is_flag=True, help="Rank films already seen, too; Meta filters them.")
def unigrf(
    dataset: str,
    folder: Path | None,
    only: tuple[str, ...],
    epochs: int | None,
    seeds: tuple[int, ...],
    device: str,
    keep_seen: bool,
) -> None:
    """UniGRF's tables: single-task and unified models, and the ablations, on MovieLens.

    Writes var/reproduce/unigrf-DATASET.{json,md} after every fit: ours, the paper's and Meta's
    figures. Fits that are there already, under the same settings, are not repeated, and one that
    was stopped goes on from its last checkpoint. NAME is one of sasrec, llama, hstu, unigrf-llama,
    unigrf-hstu, unigrf-hstu-no-enhancer, unigrf-hstu-no-weighter, unigrf-hstu-no-both, hstu-ft-a,
    hstu-ft-b.
    """
    from feature_store.log_lines import show_log_lines
    from feature_store.settings import Settings
    from pipelines.sources.fetch import FetchFailed, fetch
    from training.reproduce.movielens import read_movielens
    from training.reproduce.unigrf import ROWS, Experiment, markdown, run

    show_log_lines()
    unknown = sorted(set(only) - set(ROWS))
    if unknown:
        raise click.UsageError(f"--only: no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    root = Settings().home.absolute() / "reproduce"
    try:
        histories, num_items = read_movielens(folder or fetch(dataset, Settings()))
    except (FileNotFoundError, FetchFailed) as error:
        raise click.UsageError(f"--path: {error}") from error
    experiment = Experiment.of(
        dataset,
        histories,
        num_items,
        directory=root / dataset / "unigrf",
        device=device,
        exclude_seen=not keep_seen,
        epochs=epochs,
    )
    path = root / f"unigrf-{dataset}"
    for name in only or ROWS:
        found = run(experiment, rows=(name,), seeds=seeds)
        path.with_suffix(".json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        path.with_suffix(".md").write_text(markdown(found), encoding="utf-8")
    click.echo(markdown(found))
    click.echo(f"wrote {path}.json and {path}.md")


@reproduce.command()
@click.option(
    "--dataset",
    required=True,
    type=OneOf(["movielens-100k", "amazon-office", "kuairand"]),
    help="A preset; its tables are built in a home apart.",
)
@click.option(
    "--only",
    multiple=True,
    type=OneOf(["tokenizers", "decoder", "alignment"]),
    help="Experiments to run; default: all that the dataset has the data for.",
)
@click.option(
    "--row",
    "rows",
    multiple=True,
    metavar="NAME",
    help="Rows of the one table of --only; default: all. What they are compared with is one more.",
)
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2), show_default=True)
@click.option("--day", type=options.DAY, help="Data up to the end of this day.")
@options.overrides
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the preset's, to try it.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option(
    "--validation", is_flag=True, help="Ask what settings are chosen on, and not what tests."
)
@click.option(
    "--home",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Read the tables of this SIDEREAL_HOME instead of building some.",
)
def higr(
    dataset: str,
    only: tuple[str, ...],
    rows: tuple[str, ...],
    seeds: tuple[int, ...],
    day: date | None,
    overrides: tuple[str, ...],
    epochs: int | None,
    device: str,
    validation: bool,
    home: Path | None,
) -> None:
    """HiGR's experiments: tokenizers, its decoder's parts, and how it is aligned.

    Tokenizers: CRQ-VAE, RQ-VAE and RQ-KMeans on items they did not see. Decoder: HiGR with a part
    changed at a time against a flat decoder. Alignment: ORPO, DPO and SimPO from one trained model.

    Writes var/reproduce/higr-DATASET.{json,md} and pictures beside them, with --set
    higr-DATASET-DIGEST. Fits that are there already, under the same settings, are not repeated.
    """
    from feature_store.log_lines import show_log_lines
    from feature_store.settings import Settings

    show_log_lines()
    outer = Settings()
    root = outer.home.absolute() / "reproduce"
    last, names = day or LAST_DAYS[dataset], only or _EXPERIMENTS[dataset]
    unfit = sorted(set(names) - set(_EXPERIMENTS[dataset]))
    if unfit:
        raise click.UsageError(f"{dataset} has no data for {unfit}; see presets/{dataset}.yaml")
    if rows and only not in (("decoder",), ("alignment",)):
        raise click.UsageError("--row needs the table it is of: --only decoder or --only alignment")
    named = _named(dataset, overrides)
    cells = root / named
    tables = cells if home is None else home.absolute()
    settings = outer.model_copy(update={"home": tables, "data": outer.data_path})
    asked = _Asked(
        settings=settings,
        cells=cells,
        dataset=dataset,
        day=last,
        rows=rows,
        seeds=seeds,
        overrides=overrides,
        epochs=epochs,
        device=device,
        validation=validation,
        path=root / (f"higr-{named}-validation" if validation else f"higr-{named}"),
    )
    _require_what_there_is(asked, only)
    if home is None:
        steps = VECTOR_STEPS if set(names) == {"tokenizers"} else SLATE_STEPS
        _build_tables(dataset, last, settings.home, settings.data_path, overrides, steps=steps)
    path, kept = asked.path, asked.path.with_suffix(".json")
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    for name in names:
        table, text = _tokenizers(asked) if name == "tokenizers" else _slates(asked, name)
        found[name] = {"text": text, **table}
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found, indent=1), encoding="utf-8")
        texts = [
            found[each]["text"] for each in _EXPERIMENTS[dataset] if "text" in found.get(each, {})
        ]
        path.with_suffix(".md").write_text("\n".join(texts), encoding="utf-8")
        click.echo(text)
    click.echo(f"wrote {kept} and {path}.md")


_EXPERIMENTS = {
    "movielens-100k": ("tokenizers", "decoder", "alignment"),
    # Nobody was shown anything: places in a person's list are no slates to be held out.
    "amazon-office": ("tokenizers",),
    # Hashed categories instead of texts: items that no fit saw have neighbours by label only.
    "kuairand": ("decoder", "alignment"),
}


def _named(dataset: str, overrides: tuple[str, ...]) -> str:
    """The folder of a dataset's tables and fits: other settings never find those of others."""
    if not overrides:
        return dataset
    digest = hashlib.sha256("\0".join(overrides).encode()).hexdigest()
    return f"{dataset}-{digest[:8]}"


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What `sidereal reproduce higr` was asked for.

    Attributes:
        settings: whose home holds the tables.
        cells: folder of the fits.
        dataset: a preset.
        day: the data's last.
        rows: of the one table that is asked for; none: all of them.
        seeds: of each fit.
        overrides: of the preset.
        epochs: instead of the preset's; None: its own.
        device: where models are fitted.
        validation: whether the table is of what settings are chosen on.
        path: of the files that are written, without a suffix.
    """

    settings: "Settings"
    cells: Path
    dataset: str
    day: date
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    epochs: int | None
    device: str
    validation: bool
    path: Path

    @property
    def part(self) -> Literal["test", "validation"]:
        """Of items or slates, which are asked."""
        return "validation" if self.validation else "test"

    def config(self, *overrides: str) -> "TrainingConfig":
        """The preset's."""
        from training.config import load_config

        changes = (*self.overrides, *overrides)
        return load_config(self.dataset, folder=self.settings.presets, overrides=changes)

    def task(self, *overrides: str) -> "Task":
        """The preset on the tables."""
        from training.programs.interface import Task

        return Task(self.settings, self.config(*overrides), self.day, step="reproduce")


def _require_what_there_is(asked: _Asked, only: tuple[str, ...]) -> None:
    """Refuse a setting or a row that isn't there, before anything is built for it."""
    from feature_store.preset import PresetError
    from sidereal.preset_check import checked
    from training.reproduce.higr_slates import rows_of

    try:
        checked(asked.dataset, folder=asked.settings.presets, overrides=asked.overrides)
        config = asked.config()
    except PresetError as error:
        raise click.UsageError(str(error)) from error
    if not asked.rows:
        return
    try:
        rows_of("decoder" if only == ("decoder",) else "alignment", config, asked.rows)
    except ValueError as error:
        raise click.UsageError(f"--row: {error}") from error


def _slates(asked: _Asked, which: "Table") -> tuple[dict[str, object], str]:
    """Table and text of an experiment with slates; its picture is written."""
    from training.models import MODELS
    from training.programs.day_inputs import read_pairs
    from training.programs.item_vectors import item_matrix, read_item_vectors
    from training.programs.training_data import day_training_data, training_data_for
    from training.report.charts import paired_differences
    from training.reproduce.higr_slates import Experiment, run
    from training.reproduce.higr_slates_text import differences_to_draw, markdown

    task = asked.task()
    material = training_data_for(task, MODELS["higr"], day_training_data(task))
    histories = material.split.test.histories
    experiment = Experiment(
        dataset=asked.dataset,
        config=task.config,
        split=material.split,
        slates=material.data["slates"],
        pairs=read_pairs(task, histories, {}),
        vocabulary=material.vocabulary,
        vectors_VD=item_matrix(read_item_vectors(task, {}), material.vocabulary.num_items),
        directory=asked.cells / "higr-slates",
        part=asked.part,
        epochs=asked.epochs,
        device=asked.device,
    )
    found = run(experiment, which, asked.seeds, names=asked.rows)
    picture = asked.path.with_name(f"{asked.path.name}-{which}.svg")
    picture.write_text(paired_differences(differences_to_draw(found)), encoding="utf-8")
    text = markdown(found) + f"\n![NDCG@5, each row minus {found['against']}]({picture.name})\n"
    return found, text


def _tokenizers(asked: _Asked) -> tuple[dict[str, object], str]:
    """Table and text of the tokenizers; their pictures are written."""
    from training.programs.day_inputs import Inputs, read_histories, split_histories
    from training.programs.item_vectors import read_item_vectors
    from training.reproduce.higr_tokenizers import (
        KINDS,
        Experiment,
        cooccurrence_pairs,
        markdown,
        pictures,
        run,
    )

    task = asked.task("evaluation.protocol=leave_last_out")
    evaluation = task.config.evaluation
    inputs: Inputs = {}
    vectors = read_item_vectors(task, inputs)
    train = split_histories(read_histories(task, inputs), asked.day, evaluation).train
    experiment = Experiment(
        dataset=asked.dataset,
        embeddings_ND=vectors.embeddings_ND,
        pairs_P2=cooccurrence_pairs(
            train, vectors.item_indices, positive_strength=evaluation.positive_strength
        ),
        directory=asked.cells / "higr-tokenizers",
        held_out=asked.part,
        device=asked.device,
    )
    found = run(experiment, kinds=KINDS, seeds=asked.seeds)
    for kind, svg in pictures(experiment, kinds=KINDS, seed=asked.seeds[0]).items():
        picture = asked.path.with_name(f"{asked.path.name}-{kind}.svg")
        picture.write_text(svg, encoding="utf-8")
    return found, markdown(found)


def _build_tables(
    preset: str,
    day: date,
    home: Path,
    data: Path,
    overrides: tuple[str, ...],
    steps: tuple[str, ...] = DATA_STEPS,
) -> None:
    from feature_store.preset import preset_name
    from feature_store.settings import Settings

    own = preset_name(preset, folder=Settings().presets, overrides=overrides)
    environment = {**os.environ, "SIDEREAL_HOME": str(home), "SIDEREAL_DATA": str(data)}
    settings = [part for override in overrides for part in ("--set", override)]
    for name in steps:
        record = home / "runs" / own / day.isoformat() / "steps" / f"{name}.json"
        done = record.is_file() and json.loads(record.read_text()).get("status") in (
            "done", "unchanged",
        )  # fmt: skip
        if done:
            continue
        click.echo(f"{name} …", err=True)
        command = [
            sys.executable, "-m", "sidereal.cli", "step", name,
            "--preset", preset, "--day", day.isoformat(), *settings,
        ]  # fmt: skip
        finished = subprocess.run(command, env=environment, check=False)
        if finished.returncode:
            raise click.exceptions.Exit(finished.returncode)


def _measure(
    settings: object,
    preset: str,
    day: date,
    overrides: tuple[str, ...],
    only: tuple[str, ...],
    seeds: tuple[int, ...],
    device: str,
) -> tuple[list[dict[str, object]], str]:
    from feature_store.settings import Settings
    from training.config import load_config
    from training.data.vocabulary import Vocabulary
    from training.models import MODELS
    from training.programs.day_inputs import (
        Inputs,
        read_histories,
        read_items,
        read_semantic_ids,
        split_histories,
    )
    from training.programs.interface import Task
    from training.reproduce.baselines import Experiment, markdown, run

    assert isinstance(settings, Settings)
    config = load_config(preset, folder=settings.presets, overrides=overrides)
    task = Task(settings, config, day, step="reproduce")
    inputs: Inputs = {}
    split = split_histories(read_histories(task, inputs), day, config.evaluation)
    items = read_items(task, inputs)
    generation = task.store.partitions("semantic_ids")[-1]
    codes = read_semantic_ids(task, generation, inputs)
    experiment = Experiment(
        dataset=preset,
        config=config,
        split=split,
        vocabulary=Vocabulary.with_semantic_ids(items.num_rows, codes),
        directory=settings.home / "baselines",
        device=device,
    )
    families = only or ("tiger", *config.models.baselines)
    slated = [name for name in families if name in MODELS and "slates" in MODELS[name].reads]
    if slated:
        raise click.UsageError(f"{slated} learn slates; sidereal reproduce higr compares them")
    rows = run(experiment, families=families, seeds=seeds)
    return rows, markdown(preset, rows)
