"""What Prometheus reads at `/metrics`."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters, gauges and histograms of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests that were answered.", "path", "status")
        self.seconds = self._histogram(
            "request_seconds", "From a request's arrival to its answer.", SECONDS, "path"
        )
        self.waiting = self._gauge("waiting", "Requests that wait for a batch.")
        self.batch_rows = self._histogram("batch_rows", "Requests of a batch.", ROWS)
        self.model_seconds = self._histogram(
            "batch_seconds", "A batch's time in the model and around it.", SECONDS
        )
        self.hung_up = self._counter("hung_up", "Clients that were gone before their answer.")
        self.champion = self._gauge(
            "champion",
            "1 for the version that answers.",
            "version",
            "family",
            "digest",
            "generation",
        )
        self.swaps = self._counter("swaps", "Versions that came into service.")
        self.refused = self._counter("refused", "Champions that can't serve.", "reason")
        self.failures = self._counter(
            "watch_failures", "Looks at registry, tables or withheld items that failed.", "what"
        )
        self.withheld = self._gauge("withheld_items", "Items that nobody is answered.")
        self.unknown_withheld = self._gauge(
            "withheld_unknown_items", "Withheld ids that the model doesn't know."
        )
        self.users = self._gauge("stored_users", "Users with a stored history.")
        self.history_day = self._gauge(
            "stored_day_seconds", "The day of the stored histories, seconds since 1970."
        )

    def page(self) -> bytes:
        """All of them, as text."""
        return generate_latest(self._registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"sidereal_{name}", documentation, labels, registry=self._registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"sidereal_{name}", documentation, labels, registry=self._registry)

    def _histogram(
        self, name: str, documentation: str, buckets: Sequence[float], *labels: str
    ) -> Histogram:
        return Histogram(
            f"sidereal_{name}", documentation, labels, buckets=buckets, registry=self._registry
        )
