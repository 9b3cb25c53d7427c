"""`sidereal program` and `sidereal models`: training's commands, thin and lazy.

Under torchrun every process runs the command; only the first prints and writes the run record.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from feature_store.choices import OneOf

if TYPE_CHECKING:
    from training.programs.interface import Facts, Task
    from training.registry import Registry
    from training.registry_view import View

PROGRAMS = {
    "train_tokenizer": "Train a tokenizer on the day's item embeddings, when one is due.",
    "build_semantic_ids": "Give every item its semantic ID under the current generation.",
    "train_recommender": "Train the challenger (or the --family given) and keep its bundle.",
    "align_recommender": "Teach the challenger which of two slates is better, if it can learn it.",
    "train_baselines": "Train the baselines that the challenger must face.",
    "evaluate_recommender": "Measure the day's candidates and the champion on the same users.",
    "promote_recommender": "Register the challenger, ask the gate, move the aliases.",
    "recommend": "Write the champion's recommendations of the day.",
    "write_report": "Write the day's HTML report.",
}
"""Every program, with its help."""
_MODULES = {"train_baselines": "train_recommender"}  # where the module has another name


def _programs_help() -> str:
    width = max(map(len, PROGRAMS))
    lines = "\n".join(f"  {name:{width}}  {text}" for name, text in PROGRAMS.items())
    return f"""Run training programs for one day, one after the other.

\b
Programs:
{lines}

Several share a process, so that what they import is imported once; the first that fails is the
last that runs, and a program that finds its work done says so.

Exit codes: 0 done (a refused promotion is an outcome, too), 1 failed, 2 usage or preset, 3 a table
that was made breaks its rules.
"""


@click.command(help=_programs_help())
@click.argument("names", metavar="PROGRAM...", nargs=-1, required=True, type=OneOf(PROGRAMS))
@click.option("--preset", required=True, help="A preset's name, or a path to its YAML.")
@click.option("--day", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The day.")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Change a setting.")
@click.option("--family", multiple=True, help="Of train_…: train this family; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts of each as JSON.")
def program(
    names: tuple[str, ...],
    preset: str,
    day: datetime,
    overrides: tuple[str, ...],
    family: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run the programs named; `_programs_help` says the rest."""
    for name in names:
        if family and _MODULES.get(name, name) != "train_recommender":
            raise click.UsageError(f"--family says what is trained; {name} has no use for it")
    from feature_store.log_lines import at_work, show_log_lines

    if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
        show_log_lines()
    for name in names:
        with _one_line_errors(name), at_work(f"{name} {day.date()}"):
            task = _task(name, preset, day, overrides, family)
            facts = _run(name, task)
        if task.is_first_process:
            click.echo(_as_json(facts) if as_json else _told(facts))


def _task(
    name: str, preset: str, day: datetime, overrides: tuple[str, ...], family: tuple[str, ...]
) -> "Task":
    from feature_store.settings import Settings
    from training.config import load_config
    from training.programs.interface import Task

    settings = Settings()
    config = load_config(preset, folder=settings.presets, overrides=overrides)
    named = {
        "train_recommender": (config.models.challenger,),
        "train_baselines": config.models.baselines,
    }
    return Task(settings, config, day.date(), step=name, families=family or named.get(name, ()))


def _run(name: str, task: "Task") -> "Facts":
    """Run a program; its facts, completed, are the day's record, also when it fails."""
    from feature_store.errors import TableRefused
    from feature_store.run_record import timed, write_step

    stated = {"step": name, "day": task.day.isoformat(), "preset": task.config.name}
    started = time.perf_counter()

    def record(found: Mapping[str, Any]) -> "Facts":
        facts = timed({**stated, "status": "done", **found}, time.perf_counter() - started)
        if task.is_first_process:
            write_step(task.runs, task.day, name, facts)
        return facts

    module = importlib.import_module(f"training.programs.{_MODULES.get(name, name)}")
    try:
        return record(module.run(task))
    except TableRefused as error:
        record({"status": "refused", "reason": str(error), **error.facts})
        raise
    except Exception as error:
        record({"status": "failed", "error": f"{type(error).__name__}: {error}"})
        raise


@click.group()
def models() -> None:
    """The registry: versions, the champion, and why it moved."""


def _registry_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print facts as JSON."),
        click.option("--preset", required=True, help="Whose models: a preset's name or path."),
    ):
        command = option(command)
    return command


@models.command("list")
@_registry_options
def list_(preset: str, as_json: bool) -> None:
    """Every version, newest last, with its aliases and the gate's last word."""
    with _one_line_errors():
        found = _look(preset).versions()
    if as_json:
        click.echo(_as_json([asdict(version) for version in found]))
        return
    for version in found:
        verdict = next(reversed(version.verdicts.values()), {})
        aliases = f" [{', '.join(version.aliases)}]" if version.aliases else ""
        click.echo(
            f"{version.number:>4}  {version.day}  {version.family:<12} {version.digest[:12]}"
            f"{aliases}  {verdict.get('decision', '')}"
        )
    if not found:
        click.echo("no version is registered yet")


@models.command("history")
@_registry_options
def history(preset: str, as_json: bool) -> None:
    """Every move of the champion, oldest first, with its reason."""
    with _one_line_errors():
        moves = _look(preset).history()
    if as_json:
        click.echo(_as_json([asdict(move) for move in moves]))
        return
    for move in moves:
        come_from = f"{move.from_version} → " if move.from_version else ""
        unfinished = "" if move.finished else " (not finished)"
        click.echo(
            f"{move.day}  {move.kind:<8} {come_from}{move.to_version}{unfinished}  {move.reason}"
        )
    if not moves:
        click.echo("the champion has never moved")


@models.command("verify")
@click.option("--version", "number", type=int, help="One version; default: all of them.")
@_registry_options
def verify(preset: str, as_json: bool, number: int | None) -> None:
    """Check every digest of bundles; exits 1 when one does not verify."""
    from training.bundle import BundleError
    from training.registry_records import RegistryError

    with _one_line_errors():
        registry = _look(preset)
        chosen = [registry.version(number)] if number is not None else registry.versions()
    facts = []
    for version in chosen:
        try:
            bundle = registry.fetch(version)
            facts.append({"version": version.number, "ok": True, "bytes": bundle.num_bytes})
        except (BundleError, RegistryError) as error:
            facts.append({"version": version.number, "ok": False, "error": str(error)})
    if as_json:
        click.echo(_as_json(facts))
    else:
        for fact in facts:
            found = f"whole, {fact['bytes']:,} bytes" if fact["ok"] else fact["error"]
            click.echo(f"version {fact['version']}: {found}")
        if not facts:
            click.echo("no version is registered yet")
    if not all(fact["ok"] for fact in facts):
        sys.exit(1)


@models.command("promote")
@click.argument("number", metavar="VERSION", type=int)
@click.option("--reason", required=True, help="Why, for the history.")
@_registry_options
def promote(preset: str, as_json: bool, number: int, reason: str) -> None:
    """Make VERSION champion by hand; its bundle is verified first."""
    with _one_line_errors():
        registry = _open_registry(preset)
        version = registry.version(number)
        move = registry.promote(version, day=version.day, reason=f"by hand: {reason}")
    if as_json:
        click.echo(_as_json(asdict(move) if move else None))
    else:
        click.echo(f"version {number} is champion" + ("" if move else " already"))


@models.command("rollback")
@click.option("--reason", required=True, help="Why, for the history.")
@_registry_options
def rollback(preset: str, as_json: bool, reason: str) -> None:
    """Swap champion and previous; the bundle is verified first."""
    with _one_line_errors():
        move = _open_registry(preset).rollback(reason=reason)
    if as_json:
        click.echo(_as_json(asdict(move)))
    else:
        click.echo(
            f"version {move.to_version} is champion again, {move.from_version} is previous; "
            f"recommendations stay as they are until the next run, or `sidereal program recommend "
            f"--preset {preset} --day DAY`"
        )


def _look(preset: str) -> "View":
    """The registry for a command that only looks: nothing is made, MLflow stays unimported."""
    from feature_store.preset import preset_name
    from feature_store.settings import Settings
    from training.registry_view import look

    settings = Settings()
    return look(settings, preset_name(preset, folder=settings.presets))


def _open_registry(preset: str) -> "Registry":
    from feature_store.settings import Settings
    from training.config import load_config
    from training.registry import Registry

    settings = Settings()
    return Registry.open(settings, load_config(preset, folder=settings.presets).name)


@contextmanager
def _one_line_errors(who: str = "error") -> Iterator[None]:
    """Turn what a person can act on into a message and an exit code; a defect keeps its trace."""
    from feature_store.errors import FeatureStoreError
    from feature_store.preset import PresetError
    from training.bundle import BundleError
    from training.registry_records import RegistryError

    try:
        yield
    except PresetError as error:
        click.echo(f"{who}: {error}", err=True)
        sys.exit(2)
    except (BundleError, RegistryError) as error:
        click.echo(f"{who}: {error}", err=True)
        sys.exit(1)
    except FeatureStoreError as error:
        click.echo(f"{who}: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if not _is_expected(error):
            raise
        click.echo(f"{who}: {error}", err=True)
        sys.exit(1)


def _is_expected(error: Exception) -> bool:
    from training.checkpoint import CheckpointError
    from training.loop import TrainingDiverged
    from training.programs.interface import ProgramError
    from training.tokenizers.collisions import CodesExhaustedError
    from training.tokenizers.interface import TokenizerCorruptError

    of_training = CheckpointError | CodesExhaustedError | TokenizerCorruptError | TrainingDiverged
    return isinstance(error, ProgramError | of_training)


def _as_json(facts: Any) -> str:
    return json.dumps(facts, indent=1, sort_keys=True, default=str)


def _told(facts: Mapping[str, Any]) -> str:
    message = f": {facts['message']}" if "message" in facts else ""
    return f"{facts['step']} {facts['day']} {facts['status']}, {facts['seconds']:.1f} s{message}"


@click.group()
def main() -> None:
    """Training's commands, for machines that have only the training image."""


main.add_command(program)
main.add_command(models)

if __name__ == "__main__":
    main()
