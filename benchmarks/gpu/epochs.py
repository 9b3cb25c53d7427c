"""HSTU and the reader of semantic IDs at MovieLens-1M's size: seconds of an epoch, and its MFU."""

from dataclasses import replace
from typing import Any

from benchmarks.gpu import operations
from benchmarks.gpu.configurations import Configuration
from benchmarks.gpu.machine import Machine
from benchmarks.gpu.synthetic import World, movielens_1m, small
from training.fit.fitting import Fitting, LoopSettings
from training.fit.objective import NextItems
from training.models import MODELS

_META = {
    "backbone": "hstu",
    "similarity": "cosine",
    "loss": "sampled",
    "negatives": "position",
    "num_negatives": 128,
}
ROWS = {
    "hstu": Configuration("sasrec", _META | {"num_heads": 1}),
    "hstu, 8 layers": Configuration("sasrec", _META | {"num_layers": 8}),
    "tiger": Configuration("tiger"),
}


def measure(machine: Machine) -> dict[str, Any]:
    """The second epoch of each row; the first warms up.

    Returns:
        Events of the data, the card's peak, and by row seconds of an epoch, tokens per second,
        share of padding, loss, operations, and MFU: operations per second over the peak; None
        where the card is not listed or computes in float32.
    """
    world = small() if machine.is_small else movielens_1m()
    loop = LoopSettings(
        max_epochs=2,
        tokens_per_batch=1024 if machine.is_small else 25_600,
        max_history=20 if machine.is_small else 200,
        window_overlap=10 if machine.is_small else 100,
        validation_metric="loss",
        max_validation_targets=500,
    )
    return {
        "events": world.split.train.num_events,
        "peak": machine.peak,
        "rows": {name: _epoch(each, world, loop, machine) for name, each in ROWS.items()},
    }


def _epoch(
    configuration: Configuration, world: World, loop: LoopSettings, machine: Machine
) -> dict[str, Any]:
    config = replace(configuration.config(), max_history=loop.max_history)
    family, vocabulary = MODELS[configuration.family], world.vocabulary
    model, report = family.fit(
        world.split, config, Fitting(loop, device=machine.device), vocabulary
    )
    epoch = report.epochs[1]
    work = operations.of_epoch(
        config,
        NextItems(world.split, loop, model.positions_per_event),
        vocabulary.num_items,
        vocabulary.level_sizes,
    )
    is_bfloat16 = report.facts["precision"] == "bfloat16"
    peak = machine.peak if is_bfloat16 else None
    wanted = ("steps", "seconds", "tokens_per_second", "padding_share", "loss")
    return {name: epoch[name] for name in wanted} | {
        "precision": report.facts["precision"],
        "operations": work,
        "mfu": None if peak is None else work / epoch["seconds"] / peak,
    }
