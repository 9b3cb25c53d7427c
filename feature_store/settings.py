"""Addresses and places: everything that differs between one machine and a cluster.

Every field is read from the environment as `SIDEREAL_<FIELD>`; the defaults are the embedded
one-machine form, whose state lives under `var/`. Secrets in addresses are never printed.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from feature_store import env_file

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Deployment settings, frozen once read."""

    model_config = SettingsConfigDict(env_prefix="SIDEREAL_", extra="ignore", frozen=True)

    home: Path = REPOSITORY / "var"
    """Root of the embedded state; the other defaults hang from it."""
    warehouse: str = ""
    """URI or path of the Iceberg warehouse. Default: <home>/warehouse."""
    catalog_type: Literal["sql", "rest"] = "sql"
    """pyiceberg catalog type."""
    catalog_uri: str = ""
    """Address of the Iceberg catalog. Default: SQLite file <home>/catalog.db."""
    mlflow_tracking_uri: str = ""
    """MLflow tracking and registry address. Default: SQLite file <home>/mlflow/mlflow.db."""
    mlflow_artifacts: str = ""
    """Where MLflow keeps artifacts. Default: <home>/mlflow/artifacts."""
    runs: Path | None = None
    """Run records and reports, by preset and day. Default: <home>/runs."""
    data: Path | None = None
    """Fetched public data. Default: <home>/data."""
    presets: Path = REPOSITORY / "presets"
    """Folder of presets named without a path."""
    spark_master: str = "local[*]"
    """Spark master for jobs that are started outside spark-submit."""
    spark_driver_memory: str = "2g"
    """Spark driver memory; in local mode the executors live in the driver."""
    spark_driver_java_options: str = "-XX:TieredStopAtLevel=1"
    """Java options of a driver that we start. The default compiles fast and not deeply, which
    halves the CPU of a job on megabytes; for gigabytes in local mode, set it empty."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training runs."""
    code_revision: str = ""
    """Revision written into snapshots and bundles. Default: the checkout's HEAD."""
    machine_cost_per_hour: float = Field(default=0.0, ge=0)
    """Price of an hour of this machine, in your currency; the report multiplies seconds by it."""
    serve_token: SecretStr = SecretStr("")
    """Token that requests to `sidereal serve` must carry. Default: none, and loopback only."""
    lock_timeout_seconds: float = Field(default=60.0, gt=0)
    """How long a commit waits for a catalog that another run holds."""

    @classmethod
    def of_folder(cls, folder: str | Path) -> "Settings":
        """The settings of commands that are started in a folder: those of its `.env`.

        A variable that is set already wins, as it does for the commands.

        Raises:
            EnvironmentFileError: the folder has no `.env`, or a line of it says nothing.
        """
        path = Path(folder) / env_file.NAME
        if not path.is_file():
            raise env_file.EnvironmentFileError(
                f"there is no {path.absolute()}; `sidereal init` makes one, and `Settings()` reads "
                "the environment alone"
            )
        environment = dict(os.environ)
        env_file.apply(Path(folder), environment)
        fields = {name: f"SIDEREAL_{name.upper()}" for name in cls.model_fields}
        said: dict[str, Any] = {
            name: environment[variable]
            for name, variable in fields.items()
            if variable in environment
        }
        return cls(**said)

    @cached_property
    def resolved_warehouse(self) -> str:
        """Warehouse address with the default filled in."""
        return self.warehouse or str(self.home.absolute() / "warehouse")

    @cached_property
    def resolved_catalog_uri(self) -> str:
        """Catalog address with the default filled in."""
        return self.catalog_uri or f"sqlite:///{self.home.absolute() / 'catalog.db'}"

    @property
    def has_catalog(self) -> bool:
        """Whether there is a catalog to look into; one at another address is taken to be there."""
        address = self.resolved_catalog_uri
        file = address.removeprefix("sqlite:///")
        return file == address or Path(file).is_file()

    @cached_property
    def resolved_mlflow_tracking_uri(self) -> str:
        """MLflow address with the default filled in."""
        return self.mlflow_tracking_uri or (
            f"sqlite:///{self.home.absolute() / 'mlflow' / 'mlflow.db'}"
        )

    @cached_property
    def resolved_mlflow_artifacts(self) -> str:
        """MLflow artifact root with the default filled in."""
        return self.mlflow_artifacts or str(self.home.absolute() / "mlflow" / "artifacts")

    @cached_property
    def runs_path(self) -> Path:
        """Run records, with the default filled in."""
        return (self.runs or self.home / "runs").absolute()

    def runs_of(self, preset: str) -> Path:
        """Run records and reports of a preset, by day; `preset` is its name."""
        return self.runs_path / preset

    def data_docs_of(self, preset: str) -> Path:
        """Data Docs of a preset, by table."""
        return self.home.absolute() / "data_docs" / preset

    @cached_property
    def data_path(self) -> Path:
        """Fetched data, with the default filled in."""
        return (self.data or self.home / "data").absolute()

    @cached_property
    def resolved_code_revision(self) -> str:
        """The given revision, or the checkout's HEAD, or `unknown` outside a checkout."""
        return self.code_revision or _head_revision(REPOSITORY)


def _head_revision(repository: Path) -> str:
    head = repository / ".git" / "HEAD"
    if not head.is_file():
        return "unknown"
    text = head.read_text().strip()
    if not text.startswith("ref: "):
        return text
    reference = text.removeprefix("ref: ")
    loose = repository / ".git" / reference
    if loose.is_file():
        return loose.read_text().strip()
    packed = repository / ".git" / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {reference}")), "unknown")
