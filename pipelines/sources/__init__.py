"""Every raw layout there is."""

from typing import Any

from pyspark.sql import SparkSession

from feature_store.settings import Settings
from pipelines.config import PipelineConfig
from pipelines.sources.interface import Source
from pipelines.sources.kuairand import KuaiRand
from pipelines.sources.movielens import MovieLens
from pipelines.sources.table import Table

SOURCES: dict[str, Any] = {"movielens": MovieLens, "kuairand": KuaiRand, "table": Table}


def open_source(spark: SparkSession, config: PipelineConfig, settings: Settings) -> Source:
    """The source that a preset names."""
    source: Source = SOURCES[config.source.layout](spark, config.source, settings)
    return source
