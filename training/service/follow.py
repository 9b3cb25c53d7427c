"""What serves follows what is promoted, published and withheld, without a request noticing.

A new champion is loaded and tried beside the old one, and takes its place between two batches. What
can't be loaded is refused with a line and a count, and the old one goes on.
"""

import gc
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from feature_store.settings import Settings
from feature_store.store import FeatureStore
from training.config import Recommendations, TrainingConfig
from training.programs.day_inputs import DayTables
from training.programs.interface import device_of
from training.registry.bundle import BundleCorruptError, BundleFormatError, BundleMixError
from training.registry.records import CHAMPION, Version
from training.registry.view import View, look
from training.service.metrics import Metrics
from training.service.served import BundleUseless, Served
from training.service.stored import StoredHistories, end_of
from training.service.withheld import WithheldFile

LOG = logging.getLogger(__name__)
SECONDS_BETWEEN = 3.0
"""Between two looks at the alias, the tables and the file."""
RETRY_SECONDS = 60.0
"""After which a champion that could not be fetched is tried again; a wrong bundle isn't."""
DAY_SECONDS = 86_400
_REASONS = {
    BundleMixError: "mixed",
    BundleCorruptError: "corrupt",
    BundleFormatError: "format",
    BundleUseless: "useless",
}
OTHER = "other"
_SEQUENCES, _ITEMS = "user_sequences", "items"


@dataclass(frozen=True)
class _Refused:
    version: Version
    again_at: float


class Follower:
    """Looks, and holds what serves.

    Args:
        settings: addresses, device.
        config: of the preset.
        metrics: told what changed and what failed.
        withheld: the file of withheld items; None: there is none.
    """

    def __init__(
        self,
        settings: Settings,
        config: TrainingConfig,
        metrics: Metrics,
        withheld: WithheldFile | None = None,
    ) -> None:
        self._settings, self._config, self.metrics = settings, config, metrics
        self._file, self._withheld = withheld, frozenset[str]()
        self._view: View | None = None
        self._store: FeatureStore | None = None
        self._stored: StoredHistories | None = None
        self._snapshots: tuple[int | None, int | None] = (None, None)
        self._refused: _Refused | None = None
        self._last_lines: dict[str, str] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)
        self.served: Served | None = None
        """What answers now; replaced as a whole."""
        self.trouble = "it has not looked yet"
        """Why nothing serves, where nothing does."""

    @property
    def preset(self) -> str:
        """Whose champion it is."""
        return self._config.name

    @property
    def defaults(self) -> Recommendations:
        """How the daily table asks: what a request leaves open."""
        return self._config.recommendations

    def start(self) -> None:
        """Look now and every few seconds, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look that is under way is not waited for."""
        self._ends.set()

    def look(self) -> None:
        """Look once at everything; nothing that goes wrong stops what serves.

        Nothing begins to serve before it is known which items nobody may be answered.
        """
        looks = (("tables", self._look_at_tables), ("withheld", self._look_at_withheld))
        failed = [what for what, look_at in looks if not self._tried(what, look_at)]
        if failed and self.served is None:
            self.trouble = f"{' and '.join(failed)} could not be read; the log says why"
            return
        self._tried("registry", self._look_at_registry)

    def _follow(self) -> None:
        while True:
            before = self.served
            self.look()
            if before is not self.served:
                _set_aside()
            if self._ends.wait(SECONDS_BETWEEN):
                return

    def _tried(self, what: str, look_at: Callable[[], None]) -> bool:
        """Look at something; whether that went well."""
        try:
            look_at()
        except Exception as error:  # the storage's, the database's, the file's: any of them
            self.metrics.failures.labels(what).inc()
            line = f"{what}: {type(error).__name__}: {error}"
            if self._last_lines.get(what) != line:
                LOG.error("%s; what was read before goes on", line)
            self._last_lines[what] = line
            return False
        self._last_lines.pop(what, None)
        return True

    def _look_at_registry(self) -> None:
        if self._view is None:
            self._view = look(self._settings, self._config.name)
        champion = next((v for v in self._view.versions() if CHAMPION in v.aliases), None)
        if champion is None:
            self.trouble = f"{self._config.name} has no champion yet"
            return
        if self.served is not None and _is_same(self.served.version, champion):
            return
        if (
            self._refused is not None
            and _is_same(self._refused.version, champion)
            and time.monotonic() < self._refused.again_at
        ):
            return
        self._bring_in(champion)

    def _bring_in(self, champion: Version) -> None:
        assert self._view is not None
        try:
            served = Served.load(
                champion,
                self._view.fetch(champion),
                self._config,
                device=device_of(self._settings),
            ).having(self._stored, self._withheld)
        except Exception as error:  # whatever a bundle does, the old one goes on
            self._refuse(champion, error)
            return
        before = self.served
        self._refused = None
        self._serve(served)
        self.metrics.swaps.inc()
        LOG.info(
            "%s version %d serves%s: %s, bundle %.12s, %s",
            self._config.name,
            champion.number,
            "" if before is None else f" in the place of {before.version.number}",
            champion.family,
            champion.digest,
            f"semantic IDs {served.generation}" if served.generation else "no semantic IDs",
        )

    def _refuse(self, champion: Version, error: Exception) -> None:
        reason = next((name for kind, name in _REASONS.items() if isinstance(error, kind)), OTHER)
        self.metrics.refused.labels(reason).inc()
        goes_on = "nothing serves"
        if self.served is not None:
            goes_on = f"version {self.served.version.number} goes on"
        text = " ".join(str(error).split())
        self.trouble = f"champion {champion.number} is refused ({reason}): {type(error).__name__}"
        if self._refused is None or not _is_same(self._refused.version, champion):
            LOG.error("champion %d is refused (%s), %s: %s", champion.number, reason, goes_on, text)
        again = RETRY_SECONDS if reason == OTHER else math.inf
        self._refused = _Refused(champion, time.monotonic() + again)

    def _look_at_tables(self) -> None:
        if self._store is None:
            if not self._settings.has_catalog:
                return
            self._store = FeatureStore.open(self._settings, self._config.name)
        store, before = self._store, self._stored
        snapshots = store.snapshot_id(_SEQUENCES), store.snapshot_id(_ITEMS)
        if snapshots == self._snapshots or None in snapshots:
            return
        day = max(day for day in store.partitions(_SEQUENCES) if isinstance(day, date))
        tables = DayTables(store, day)
        if before is not None and snapshots[0] == self._snapshots[0]:
            histories = before.histories
        else:
            histories = tables.histories()
        self._stored = StoredHistories(day, histories, tables.unlisted())
        self._snapshots = snapshots
        self.metrics.users.set(histories.num_users)
        self.metrics.history_day.set(end_of(day) - DAY_SECONDS)
        LOG.info("histories of %s: %s users", day, f"{histories.num_users:,}")
        self._again()

    def _look_at_withheld(self) -> None:
        if self._file is None:
            return
        withheld = self._file.items()
        if withheld == self._withheld:
            return
        self._withheld = withheld
        LOG.info("%s items are withheld by %s", f"{len(withheld):,}", self._file.path)
        self._again()

    def _again(self) -> None:
        """The version that serves, with the histories and withheld items of now."""
        if self.served is not None:
            self._serve(self.served.having(self._stored, self._withheld))

    def _serve(self, served: Served) -> None:
        self.served = served
        version, metrics = served.version, self.metrics
        metrics.champion.clear()
        metrics.champion.labels(
            version.number, version.family, version.digest, served.generation or ""
        ).set(1)
        metrics.withheld.set(len(served.predictor.unlisted))
        unknown = sum(item not in served.names.numbers for item in self._withheld)
        metrics.unknown_withheld.set(unknown)
        if unknown:
            LOG.info("%s withheld items are none that the model knows", f"{unknown:,}")


def _set_aside() -> None:
    """Keep Python's collector from what is there for long: torch, the model, the histories.

    To look through it takes a fifth of a second, in which nothing is answered, and comes round
    every few hundred batches. Once, when what serves has changed, it is looked through, so that
    what served before goes.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _is_same(one: Version, other: Version) -> bool:
    return (one.number, one.digest) == (other.number, other.digest)
