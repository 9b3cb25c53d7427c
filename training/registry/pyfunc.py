"""How MLflow serves a bundle: the model class, its signature, and the files beside the bundle.

Nothing is pickled: the model's code file is `served_model.py` beside this one (models-from-code),
its weights are the bundle's. The package itself must be installed where a version is loaded.
"""

import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

from training.registry.bundle import open_bundle
from training.registry.predictor import BundlePredictor

BUNDLE = "artifacts/bundle"
"""Where the bundle lies within the model's folder."""
_PACKAGES = ("mlflow", "numpy", "pandas", "pyarrow", "safetensors", "torch")
_DEFAULTS: dict[str, Any] = {"k": 20, "exclude_seen": True}


class ServedBundle(PythonModel):
    """What `mlflow.pyfunc.load_model` gets: histories of item ids in, lists of item ids out.

    Example:
        >>> model = mlflow.pyfunc.load_model("models:/movielens-100k@champion")  # doctest: +SKIP
        >>> model.predict(pd.DataFrame({"item_ids": [["50", "181"]]}), {"k": 5})  # doctest: +SKIP
    """

    _skip_type_hint_validation = True  # the signature below says it; MLflow would warn about hints

    def load_context(self, context: PythonModelContext) -> None:
        """Verify the bundle and load its weights."""
        bundle = open_bundle(Path(context.artifacts["bundle"]))
        self._predictor = BundlePredictor.of(bundle, device="cpu")

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """One list per row of `item_ids` (a history, oldest first; unknown ids are passed over)."""
        chosen = {**_DEFAULTS, **(params or {})}
        histories = [list(history) for history in model_input["item_ids"]]
        items, scores = self._predictor.next_ids(
            histories, int(chosen["k"]), exclude_seen=bool(chosen["exclude_seen"])
        )
        return pd.DataFrame({"item_ids": items, "scores": scores})


def write_model_files(directory: Path) -> None:
    """Make `directory` an MLflow model over the bundle that will lie at its `artifacts/bundle`."""
    ids = ColSpec(Array(DataType.string), "item_ids")
    scores = ColSpec(Array(DataType.double), "scores")
    params = [
        ParamSpec("k", DataType.integer, _DEFAULTS["k"]),
        ParamSpec("exclude_seen", DataType.boolean, _DEFAULTS["exclude_seen"]),
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*An input example was not provided")
        mlflow.pyfunc.save_model(
            str(directory),
            python_model=str(Path(__file__).with_name("served_model.py")),
            signature=ModelSignature(Schema([ids]), Schema([ids, scores]), ParamSchema(params)),
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in _PACKAGES],
        )
    # save_model's own `artifacts` would copy the bundle; its place in the MLmodel file is enough.
    model = Model.load(str(directory))
    model.flavors[mlflow.pyfunc.FLAVOR_NAME]["artifacts"] = {
        "bundle": {"path": BUNDLE, "uri": BUNDLE}
    }
    model.save(str(directory / "MLmodel"))


def declare_served_model() -> None:
    """Say to MLflow, from the code file that it runs, which model that file defines."""
    mlflow.models.set_model(ServedBundle())
