"""A run in MLflow: one step of one day, with what it measured and made."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from training.registry.bundle import Bundle
from training.registry.pyfunc import write_model_files
from training.registry.records import BUNDLE

MODEL = "model"
"""The run's folder of a bundle, as an MLflow model."""
TOKENIZER = "tokenizer"
"""The run's folder of a tokenizer."""
_BATCH = 500  # metrics per call; MLflow allows 1,000


class TrackedRun:
    """An open run: what a step logs while it works."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self._waiting: list[Metric] = []
        self.run_id = run_id

    def log(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Points of curves (`loss`, `tokens_per_second`, `padding_share`, …); sent in batches."""
        for name, value in values.items():
            # MLflow's own stamp would be a clock read; the step orders the points.
            self._waiting.append(Metric(name.replace("@", "_at_"), float(value), 0, step))
        if len(self._waiting) >= _BATCH:
            self.flush()

    def describe(self, values: Mapping[str, Any]) -> None:
        """Settings of the run, logged once (MLflow's params)."""
        params = [Param(name, str(value)) for name, value in values.items()]
        for start in range(0, len(params), 100):
            self._client.log_batch(self.run_id, params=params[start : start + 100])

    def tag(self, values: Mapping[str, str]) -> None:
        """Tags of the run, under `sidereal.`."""
        tags = [RunTag(f"sidereal.{k}", v) for k, v in values.items()]
        self._client.log_batch(self.run_id, tags=tags)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a file, or a folder's files, with the run."""
        keep = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        keep(self.run_id, str(path), folder)

    def log_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep a mapping with the run, as a file."""
        text = json.dumps(content, indent=1, sort_keys=True, default=str)
        self._client.log_text(self.run_id, text, name)

    def log_candidate(self, bundle: Bundle) -> None:
        """Keep a bundle with the run, in the layout that MLflow loads."""
        with tempfile.TemporaryDirectory(prefix="sidereal-") as scratch:
            wrapper = Path(scratch) / MODEL
            write_model_files(wrapper)
            self._client.log_artifacts(self.run_id, str(wrapper), MODEL)
        self._client.log_artifacts(self.run_id, str(bundle.directory), BUNDLE)
        self.tag({"bundle": bundle.digest, "bytes": str(bundle.num_bytes)})

    def log_tokenizer(self, directory: Path, generation: str) -> None:
        """Keep a saved tokenizer with the run."""
        self._client.log_artifacts(self.run_id, str(directory), TOKENIZER)
        self.tag({"generation": generation})

    def flush(self) -> None:
        """Send the points that still wait."""
        if self._waiting:
            self._client.log_batch(self.run_id, metrics=self._waiting)
            self._waiting = []
