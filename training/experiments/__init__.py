"""Experiments whose tables this repository quotes; a new one is one file and a line."""

from training.experiments import (
    baselines,
    groupce,
    higr,
    higr_tokenizers,
    rankgr,
    semantic_ids,
    unigrf,
)
from training.experiments.table import Table

EXPERIMENTS: dict[str, Table] = {
    table.name: table
    for table in (
        baselines.TABLE,
        semantic_ids.TABLE,
        unigrf.TABLE,
        higr.DECODER,
        higr.ALIGNMENT,
        higr_tokenizers.TABLE,
        rankgr.TABLE,
        groupce.TABLE,
    )
}
"""Name → table."""
