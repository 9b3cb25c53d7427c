"""Experiments whose tables this repository quotes; a new one is one file and a line."""

from training.experiments.baselines import TABLE as BASELINES
from training.experiments.table import Table

EXPERIMENTS: dict[str, Table] = {table.name: table for table in (BASELINES,)}
"""Name → table."""
