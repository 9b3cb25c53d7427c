"""`sidereal serve`: the champion of a preset, asked over HTTP."""

import ipaddress
import sys
from pathlib import Path

import click

from feature_store import options


@click.command()
@options.preset
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8100, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--withheld",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Items that nobody is answered: an id a line, or .csv or .parquet with item_id. Read "
    "again when it changes.",
)
@click.option(
    "--most-at-once",
    default=32,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="Requests that are answered together.",
)
@click.option(
    "--most-waiting",
    default=256,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Requests that wait; more are answered 429.",
)
@click.option(
    "--timeout",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.01, 60),
    help="Seconds in which a request is answered, else 504.",
)
@click.option(
    "--kept-mb",
    default=64,
    show_default=True,
    type=click.IntRange(0),
    help="MiB of answers that are kept for who asks the same again; 0: none.",
)
def serve(
    preset: str,
    host: str,
    port: int,
    withheld: Path | None,
    most_at_once: int,
    most_waiting: int,
    timeout: float,
    kept_mb: int,
) -> None:
    """Answer requests with a preset's champion, and follow promotions and rollbacks.

    Lists at /v1/recommend, probabilities at /v1/rank, probes at /health and /ready, Prometheus at
    /metrics, what all of them take at /openapi.json. SIDEREAL_SERVE_TOKEN is the token that
    requests carry (Authorization: Bearer); without one it listens on loopback only. Ctrl-C or
    SIGTERM ends it when what waits is answered.

    Exit codes: 0 ended, 1 the address is taken, 2 usage or preset.
    """
    from feature_store.settings import Settings

    settings = Settings()
    token = settings.serve_token.get_secret_value()
    if not token and not _is_loopback(host):
        raise click.UsageError(
            f"--host is {host}, and SIDEREAL_SERVE_TOKEN is not set; set it, or listen on 127.0.0.1"
        )
    from feature_store.log_lines import show_log_lines

    show_log_lines()
    from feature_store.preset import load
    from training.config import PART
    from training.service.app import Service, make_app
    from training.service.batches import Limits
    from training.service.follow import Follower
    from training.service.kept import KeptAnswers
    from training.service.listen import listen
    from training.service.metrics import Metrics
    from training.service.withheld import WithheldFile

    config = load(PART, preset, folder=settings.presets)
    file = WithheldFile(withheld) if withheld else None
    follower = Follower(settings, config, Metrics(), file)
    limits = Limits(most_at_once, most_waiting, timeout)
    service = Service(follower, limits, KeptAnswers(kept_mb << 20))
    follower.start()
    try:
        listen(
            make_app(service, token),
            host,
            port,
            lambda at: click.echo(f"listening on http://{host}:{at}, described at /openapi.json"),
        )
    except OSError as error:
        click.echo(f"serve: can't listen on {host}:{port}: {error.strerror}", err=True)
        sys.exit(1)
    finally:
        follower.stop()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
