"""`sidereal bench`: ours against the peers on the same work, a process for each measure."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console, JustifyMethod
from rich.table import Table

from feature_store import options
from feature_store.choices import OneOf
from feature_store.settings import Settings

BENCHMARKS = (
    "sequence_building",
    "preference_pairs",
    "preference_lists",
    "impressions",
    "collaborative_vectors",
    "sasrec_epoch",
    "hstu_epoch",
    "mfalcon_256",
    "constrained_beam_step",
    "slate_epoch",
    "slate_fork",
    "slate_decode_latent",
    "slate_decode_item",
    "orpo_step_memory",
    "validation_share",
    "ingestion",
    "slow_drift",
    "rsp_share",
    "encode_once",
    "batch_recommend",
    "group_loss_share",
    "ranker_rows",
    "serve_requests",
    "serve_soak",
)
"""Modules of `benchmarks`, each with `measure(settings, *, quick) -> dict`."""

FIELDS = ("name", "work", "unit", "ours", "peers", "ratio", "goal")

_CHILD = (
    "import sys; from sidereal.bench import measure_here; "
    "measure_here(sys.argv[1], sys.argv[2] == 'quick', sys.argv[3])"
)


@click.command()
@click.argument("names", nargs=-1, type=OneOf(BENCHMARKS), metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="Small work, to see that it runs; not for comparison.")
@options.as_json
def bench(names: tuple[str, ...], quick: bool, as_json: bool) -> None:
    """Measure ours and the peers on the same work; writes var/bench.json.

    NAME is one of sequence_building, preference_pairs, preference_lists, impressions,
    collaborative_vectors, sasrec_epoch, hstu_epoch, mfalcon_256, constrained_beam_step,
    slate_epoch, slate_fork, slate_decode_latent, slate_decode_item, orpo_step_memory,
    validation_share, ingestion, slow_drift, rsp_share, encode_once, batch_recommend,
    group_loss_share, ranker_rows, serve_requests, serve_soak; all of them without one.
    ratio = ours / best peer: below 1 is faster where the unit is time.
    """
    settings = Settings()
    console = Console(stderr=as_json)
    path = settings.home / "bench.json"
    for name in names or BENCHMARKS:
        with console.status(f"measuring {name}"):
            found = _measure(name, quick, settings.home.absolute())
        _keep(path, found)
        console.print(f"{name}: {found['ours']:.4g} {found['unit']}, ratio {found['ratio']:.3g}")
    measures = [each for each in read_measures(path) if not names or each["name"] in names]
    console.print(_table(measures))
    if as_json:
        click.echo(json.dumps(measures, indent=1))


def read_measures(path: Path) -> list[dict[str, Any]]:
    """What was measured last, one object per measure; empty where nothing was."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def measure_here(name: str, quick: bool, result: str) -> None:
    """Run one benchmark in this process and write what it found to a file."""
    module = importlib.import_module(f"benchmarks.{name}")
    found = module.measure(Settings(), quick=quick)
    Path(result).write_text(json.dumps(found), encoding="utf-8")


def _measure(name: str, quick: bool, home: Path) -> dict[str, Any]:
    """Measure in a fresh process: no import, cache or JVM of another benchmark is in the way."""
    home.mkdir(parents=True, exist_ok=True)
    result = home / f"bench-{name}.json"
    result.unlink(missing_ok=True)
    finished = subprocess.run(
        [sys.executable, "-P", "-c", _CHILD, name, "quick" if quick else "full", str(result)],
        check=False,
    )
    if finished.returncode or not result.is_file():
        raise click.ClickException(f"benchmark {name} ended with exit code {finished.returncode}")
    found = json.loads(result.read_text(encoding="utf-8"))
    result.unlink()
    missing = [field for field in FIELDS if field not in found]
    if missing:
        raise click.ClickException(
            f"benchmark {name} gave no {', '.join(missing)}; expected {', '.join(FIELDS)}"
        )
    return {**found, "quick": True} if quick else found


def _keep(path: Path, found: dict[str, Any]) -> None:
    """Replace the measure of that name; the others stay, in the order of `BENCHMARKS`."""
    kept = {each["name"]: each for each in read_measures(path)} | {found["name"]: found}
    order = [*BENCHMARKS, *sorted(set(kept) - set(BENCHMARKS))]
    beside = path.with_suffix(".json.tmp")
    measures = [kept[name] for name in order if name in kept]
    beside.write_text(json.dumps(measures, indent=1), encoding="utf-8")
    beside.replace(path)


def _table(measures: list[dict[str, Any]]) -> Table:
    table = Table()
    columns: tuple[tuple[str, JustifyMethod], ...] = (
        ("measure", "left"),
        ("work", "left"),
        ("ours", "right"),
        ("peers", "left"),
        ("ratio", "right"),
        ("goal", "right"),
    )
    for name, justify in columns:
        table.add_column(name, justify=justify)
    for each in measures:
        peers = ", ".join(f"{name} {value:.4g}" for name, value in each["peers"].items())
        quick = " (quick)" if each.get("quick") else ""
        table.add_row(
            each["name"] + quick,
            each["work"],
            f"{each['ours']:.4g} {each['unit']}",
            peers,
            f"{each['ratio']:.3g}",
            str(each["goal"]),
        )
    return table
