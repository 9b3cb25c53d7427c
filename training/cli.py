"""Training steps for `sidereal step`, and `sidereal models`: thin and lazy.

Under torchrun every process runs the command; only the first prints and writes the run record.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from feature_store import options
from feature_store.installed import imported
from feature_store.step_command import Request, Runner, step_command
from feature_store.steps import steps

if TYPE_CHECKING:
    from training.programs.interface import Facts, Task
    from training.registry.client import Registry
    from training.registry.view import View


def _run_step(request: Request) -> "Facts | None":
    task = _task(request)
    facts = _run(request.step.name, task)
    return facts if task.is_first_process else None


def _task(request: Request) -> "Task":
    from feature_store.preset import load
    from feature_store.settings import Settings
    from training.config import PART
    from training.programs.interface import Task

    name, settings = request.step.name, Settings()
    config = load(PART, request.preset, folder=settings.presets, overrides=request.overrides)
    named = {
        "train_recommender": (config.models.challenger,),
        "train_baselines": config.models.baselines,
    }
    families = request.families or named.get(name, ())
    return Task(settings, config, request.day, step=name, families=families)


def _run(name: str, task: "Task") -> "Facts":
    """Run a program; its facts, completed, are the day's record, also when it fails."""
    from feature_store.errors import TableRefused
    from feature_store.run_record import timed, write_step
    from training.programs.errors import TooLittleData

    stated = {"step": name, "day": task.day.isoformat(), "preset": task.config.name}
    started = time.perf_counter()

    def record(found: Mapping[str, Any]) -> "Facts":
        facts = timed({**stated, "status": "done", **found}, time.perf_counter() - started)
        if task.is_first_process:
            write_step(task.runs, task.day, name, facts)
        return facts

    program = imported(steps()[name].runs or f"training.programs.{name}:run")
    try:
        return record(program(task))
    except TableRefused as error:
        record({"status": "refused", "reason": str(error), **error.facts})
        raise
    except TooLittleData as error:
        record({"status": "refused", "reason": str(error)})
        raise
    except Exception as error:
        record({"status": "failed", "error": f"{type(error).__name__}: {error}"})
        raise


@click.group()
def models() -> None:
    """The registry: versions, the champion, and why it moved."""


def _registry_options(command: Callable[..., None]) -> Callable[..., None]:
    return options.preset(options.as_json(command))


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
        verdict: Mapping[str, Any] = next(reversed(list(version.verdicts.values())), {})
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
    from training.registry.bundle import BundleError
    from training.registry.records import RegistryError

    with _one_line_errors():
        registry = _look(preset)
        chosen = [registry.version(number)] if number is not None else registry.versions()
    facts: list[dict[str, Any]] = []
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
            f"recommendations stay as they are until the next run, or `sidereal step recommend "
            f"--preset {preset} --day DAY`"
        )


def _look(preset: str) -> "View":
    """The registry for a command that only looks: nothing is made, MLflow stays unimported."""
    from feature_store.preset import preset_name
    from feature_store.settings import Settings
    from training.registry.view import look

    settings = Settings()
    return look(settings, preset_name(preset, folder=settings.presets))


def _open_registry(preset: str) -> "Registry":
    from feature_store.preset import load
    from feature_store.settings import Settings
    from training.config import PART
    from training.registry.client import Registry

    settings = Settings()
    return Registry.open(settings, load(PART, preset, folder=settings.presets).name)


@contextmanager
def _one_line_errors(who: str = "error") -> Iterator[None]:
    """Turn what a person can act on into a message and an exit code; a defect keeps its trace."""
    from feature_store.errors import FeatureStoreError
    from feature_store.preset import PresetError
    from training.programs.errors import ProgramError
    from training.registry.bundle import BundleError
    from training.registry.records import RegistryError

    try:
        yield
    except PresetError as error:
        click.echo(f"{who}: {error}", err=True)
        sys.exit(2)
    except (BundleError, RegistryError) as error:
        click.echo(f"{who}: {error}", err=True)
        sys.exit(1)
    except (FeatureStoreError, ProgramError) as error:
        click.echo(f"{who}: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if not _is_expected(error):
            raise
        click.echo(f"{who}: {error}", err=True)
        sys.exit(1)


def _is_expected(error: Exception) -> bool:
    from training.fit.checkpoint import CheckpointError
    from training.fit.loop import TrainingDiverged
    from training.models.weights import WeightsError
    from training.tokenizers.collisions import CodesExhaustedError
    from training.tokenizers.interface import TokenizerCorruptError

    of_training = CheckpointError | CodesExhaustedError | TokenizerCorruptError | TrainingDiverged
    return isinstance(error, of_training | WeightsError)


def _as_json(facts: Any) -> str:
    return json.dumps(facts, indent=1, sort_keys=True, default=str)


def _told(facts: Mapping[str, Any], given: str) -> str:
    message = f": {facts['message']}" if "message" in facts else ""
    return f"{facts['step']} {facts['day']} {facts['status']}, {facts['seconds']:.1f} s{message}"


@click.group()
def main() -> None:
    """Training's commands, for machines that have only the training image."""


RUNNER = Runner(run=_run_step, describe=_told, exits=_one_line_errors)
"""Runs training steps, for `sidereal step`."""

main.add_command(step_command({"training": "training.cli:RUNNER"}))
main.add_command(models)

if __name__ == "__main__":
    main()
