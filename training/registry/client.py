"""The registry: runs, candidates, tokenizers, versions, aliases and why they moved. Imports MLflow.

A run holds one step of one day. A candidate is a run with a bundle, laid out as an MLflow model
(`model/`, the bundle at `model/artifacts/bundle`), so that registering it copies nothing. A version
is a registered candidate; `champion` and `previous` are aliases. Every move of an alias is a run
of its own, opened before the move, ended after it, and never changed again: the audit.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlparse

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from feature_store.settings import Settings
from training.registry.bundle import Bundle
from training.registry.records import (
    BUNDLE,
    CHAMPION,
    Candidate,
    Move,
    RegistryError,
    TokenizerRecord,
    Version,
    candidate_from,
    move_from,
    opened,
    tokenizer_from,
    version_from,
    version_of,
)
from training.registry.tracked_run import MODEL, TOKENIZER, TrackedRun

PREVIOUS = "previous"
ALIGNMENT = "align_recommender"
"""The step whose bundles are of aligned models."""
_NONE = ""  # the id of an experiment that isn't there


class Registry:
    """The runs and versions of one preset."""

    def __init__(self, client: MlflowClient, preset: str, experiment_id: str) -> None:
        self._client = client
        self.name = preset
        self.tracking_uri = client.tracking_uri
        self._experiment_id = experiment_id

    @classmethod
    def open(cls, settings: Settings, preset: str, *, makes_experiment: bool = True) -> Self:
        """Connect; creates the database, the experiment and nothing else where they are missing.

        Args:
            settings: addresses.
            preset: names the experiment and the registered model.
            makes_experiment: False for who only looks; there are no runs then.
        Raises:
            RegistryError: the address can't be reached.
        """
        uri = settings.resolved_mlflow_tracking_uri
        local = uri.startswith("sqlite:///")
        artifacts = settings.resolved_mlflow_artifacts if local else settings.mlflow_artifacts
        try:
            with _one_at_a_time(Path(uri.removeprefix("sqlite:///"))) if local else nullcontext():
                client = MlflowClient(uri, uri)
                found = client.get_experiment_by_name(preset)
                if found:
                    experiment_id = found.experiment_id
                elif makes_experiment:
                    experiment_id = client.create_experiment(preset, f"{artifacts}/{preset}")
                else:
                    experiment_id = _NONE
        except (MlflowException, OSError) as error:
            raise RegistryError(f"MLflow can't be opened at its address: {error}") from error
        return cls(client, preset, experiment_id)

    @contextmanager
    def run(
        self, *, day: str, step: str, family: str = "", inputs_digest: str = ""
    ) -> Iterator[TrackedRun]:
        """An open run; ends as FINISHED, or as FAILED when the block raises."""
        name = "-".join(part for part in (day, step, family) if part)
        tags = {
            "sidereal.day": day,
            "sidereal.preset": self.name,
            "sidereal.step": step,
            "sidereal.family": family,
            "sidereal.inputs-digest": inputs_digest,
        }
        created = self._client.create_run(self._experiment_id, tags=tags, run_name=name)
        tracked = TrackedRun(self._client, created.info.run_id)
        try:
            yield tracked
            tracked.flush()
        except BaseException:
            self._client.set_terminated(tracked.run_id, "FAILED")
            raise
        self._client.set_terminated(tracked.run_id, "FINISHED")

    def find_run(self, *, day: str, step: str, inputs_digest: str | None = None) -> str | None:
        """Id of the latest finished run of a step and day, of those inputs where given."""
        found = self._search({"day": day, "step": step, "inputs-digest": inputs_digest})
        return found[0].info.run_id if found else None

    def read_json(self, run_id: str, name: str) -> dict[str, Any]:
        """A JSON file that a run holds.

        Raises:
            RegistryError: it holds none of that name.
        """
        try:
            text = self._local(run_id, name).read_text(encoding="utf-8")
        except (MlflowException, OSError) as error:
            raise RegistryError(f"run {run_id} holds no {name}: {error}") from error
        content: dict[str, Any] = json.loads(text)
        return content

    def find_candidate(
        self,
        day: str,
        family: str,
        inputs_digest: str | None = None,
        *,
        is_aligned: bool | None = None,
    ) -> Candidate | None:
        """The latest finished bundle of a family and day.

        Args:
            day: ISO.
            family: a key of `MODELS`.
            inputs_digest: of what it was made from; None: of whatever.
            is_aligned: only what an alignment made, or only what a training made; None: either.
        """
        tags = {"day": day, "family": family, "inputs-digest": inputs_digest}
        for run in self._search(tags):
            found = run.data.tags
            made_by_alignment = found.get("sidereal.step") == ALIGNMENT
            if "sidereal.bundle" in found and is_aligned in (None, made_by_alignment):
                return candidate_from(run.info.run_id, found)
        return None

    def find_tokenizer(
        self, *, until: str, inputs_digest: str | None = None
    ) -> TokenizerRecord | None:
        """The latest tokenizer trained on `until` (ISO day) or before it."""
        found = [
            run
            for run in self._search({"step": "train_tokenizer", "inputs-digest": inputs_digest})
            if "sidereal.generation" in run.data.tags and run.data.tags["sidereal.day"] <= until
        ]
        if not found:
            return None
        latest = max(found, key=lambda run: (run.data.tags["sidereal.day"], run.info.start_time))
        return tokenizer_from(latest.info.run_id, latest.data.tags)

    def fetch_tokenizer(self, generation: str) -> Path:
        """Local folder of a saved tokenizer.

        Raises:
            RegistryError: no run holds that generation.
        """
        for run in self._search({"step": "train_tokenizer", "generation": generation}):
            return self._local(run.info.run_id, TOKENIZER)
        raise RegistryError(f"no tokenizer of generation {generation!r} in {self.name!r}")

    def fetch(self, holder: Candidate | Version) -> Bundle:
        """The verified bundle of a candidate or version; not copied where artifacts are local.

        Raises:
            RegistryError: the artifacts are gone.
            BundleError: the bundle is corrupt, or is not the one that was logged.
        """
        try:
            path = self._local(holder.run_id, BUNDLE)
        except (MlflowException, OSError) as error:
            raise RegistryError(f"run {holder.run_id} holds no bundle any more: {error}") from error
        return opened(path, holder.digest)

    def register(self, candidate: Candidate) -> Version:
        """The version of a candidate's bundle, verified; made only where its digest has none.

        Raises:
            BundleError: the bundle does not verify.
        """
        for version in self.versions():
            if version.digest == candidate.digest:
                return version
        self.fetch(candidate)
        if not self._client.search_registered_models(f"name = '{self.name}'"):
            self._client.create_registered_model(self.name)
        artifacts = self._client.get_run(candidate.run_id).info.artifact_uri
        made = self._client.create_model_version(
            self.name,
            source=f"{artifacts}/{MODEL}",
            run_id=candidate.run_id,
            tags={
                "sidereal.digest": candidate.digest,
                "sidereal.day": candidate.day,
                "sidereal.family": candidate.family,
            },
        )
        return version_from(made.version, made.run_id, made.tags, ())

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        aliases = self._aliases()
        found = self._client.search_model_versions(f"name = '{self.name}'", max_results=10_000)
        return sorted(
            (
                version_from(at.version, at.run_id, at.tags, aliases.get(int(at.version), ()))
                for at in found
            ),
            key=lambda version: version.number,
        )

    def version(self, number: int) -> Version:
        """One version.

        Raises:
            RegistryError: there is none of that number; the message lists those that exist.
        """
        return version_of(self.versions(), number, self.name)

    def champion(self) -> Version | None:
        """The version that serves."""
        return self._with_alias(CHAMPION)

    def previous(self) -> Version | None:
        """The version that served before it."""
        return self._with_alias(PREVIOUS)

    def record_verdict(self, version: Version, day: str, verdict: Mapping[str, Any]) -> None:
        """Store a day's verdict beside the version it is about; a rerun replaces it."""
        text = json.dumps(verdict, sort_keys=True)
        self._client.set_model_version_tag(
            self.name, str(version.number), f"sidereal.verdict.{day}", text
        )

    def promote(self, version: Version, *, day: str, reason: str) -> Move | None:
        """Make a version champion and the champion `previous`; None where it is champion already.

        Raises:
            BundleError: its bundle does not verify; no alias has moved.
        """
        champion = self.champion()
        if champion is not None and champion.number == version.number:
            return None
        return self._move("promote", champion, version, day=day, reason=reason)

    def rollback(self, *, reason: str) -> Move:
        """Swap champion and previous; the move is of the day of the champion that is left.

        Raises:
            RegistryError: there is no previous version.
            BundleError: its bundle does not verify; no alias has moved.
        """
        champion, previous = self.champion(), self.previous()
        if champion is None or previous is None or previous.number == champion.number:
            raise RegistryError(f"{self.name!r} has no previous champion to return to")
        return self._move("rollback", champion, previous, day=champion.day, reason=reason)

    def history(self) -> list[Move]:
        """Every move of the champion, oldest first."""
        runs = self._search({"step": "move"}, finished_only=False)
        return sorted((_as_move(run) for run in runs), key=lambda move: move.milliseconds)

    def _move(self, kind: str, old: Version | None, new: Version, *, day: str, reason: str) -> Move:
        self.fetch(new)
        with self.run(day=day, step="move", family=new.family) as run:
            run.tag(
                {
                    "move": kind,
                    "from": str(old.number) if old else "",
                    "to": str(new.number),
                    "digest": new.digest,
                    "reason": reason,
                }
            )
            if old is not None:
                self._client.set_registered_model_alias(self.name, PREVIOUS, str(old.number))
            self._client.set_registered_model_alias(self.name, CHAMPION, str(new.number))
        self._client.set_model_version_tag(
            self.name, str(new.number), f"sidereal.{kind}.{day}", reason
        )
        return _as_move(self._client.get_run(run.run_id))

    def _local(self, run_id: str, path: str) -> Path:
        """A run's file or folder on this machine: in place, or downloaded from remote storage."""
        address = urlparse(self._client.get_run(run_id).info.artifact_uri)
        if address.scheme not in ("", "file"):
            return Path(self._client.download_artifacts(run_id, path))
        place = Path(unquote(address.path)) / path
        if not place.exists():
            raise FileNotFoundError(f"{place} does not exist")
        return place

    def _with_alias(self, alias: str) -> Version | None:
        return next((found for found in self.versions() if alias in found.aliases), None)

    def _aliases(self) -> dict[int, tuple[str, ...]]:
        by_version: dict[int, tuple[str, ...]] = {}
        for model in self._client.search_registered_models(f"name = '{self.name}'"):
            for alias, number in sorted(model.aliases.items()):
                by_version[int(number)] = (*by_version.get(int(number), ()), alias)
        return by_version

    def _search(self, tags: Mapping[str, str | None], *, finished_only: bool = True) -> list[Run]:
        """Runs with those tags (None: any value), latest first."""
        clauses = [f"tags.`sidereal.{k}` = '{v}'" for k, v in tags.items() if v is not None]
        clauses += ["attributes.status = 'FINISHED'"] if finished_only else []
        found: list[Run] = []
        token: str | None = "" if self._experiment_id != _NONE else None
        while token is not None:
            page = self._client.search_runs(
                [self._experiment_id],
                " and ".join(clauses),
                order_by=["attributes.start_time DESC"],
                page_token=token or None,
            )
            found, token = found + list(page), page.token or None
        return found


@contextmanager
def _one_at_a_time(database: Path) -> Iterator[None]:
    """Keep two processes from creating the same SQLite file at once."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _as_move(run: Run) -> Move:
    return move_from(run.data.tags, run.info.start_time, run.info.status == "FINISHED")
