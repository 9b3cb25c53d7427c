"""What the commands over tables share: how a version is given, and how a preset's store opens."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from feature_store.store import FeatureStore

At = int | date | None


class _Version(click.ParamType[At]):
    """A snapshot id, a day, or `head`."""

    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> At:
        if value is None or isinstance(value, int | date) or value == "head":
            return None if value == "head" else value
        try:
            return int(value) if value.isdigit() else date.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} names no version; give a snapshot id, a day (1998-04-15) or head",
                param,
                ctx,
            )


def not_blank(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """A reason that says something."""
    if not value.strip():
        raise click.BadParameter("say what was wrong with the snapshot", ctx, param)
    return value


VERSION = _Version()
at = click.option(
    "--at", type=VERSION, default="head", show_default=True, help="Snapshot id, day or head."
)


@contextmanager
def opened(preset: str) -> Iterator["FeatureStore"]:
    """The preset's store; refusals end the command with one line and their code."""
    from pydantic import ValidationError

    from feature_store.errors import FeatureStoreError
    from feature_store.preset import PresetError, preset_name
    from feature_store.run_record import refuse_old_records
    from feature_store.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        raise Refusal(f"settings (SIDEREAL_…) can't be read: {error}", 2) from error
    try:
        name = preset_name(preset, folder=settings.presets)
        if not settings.has_catalog:
            refuse_old_records(settings.runs_path)
            raise NothingThere(
                f"no table was published yet: there is no catalog at "
                f"{settings.resolved_catalog_uri.removeprefix('sqlite:///')}; "
                f"`sidereal run --preset {preset}` makes one"
            )
        from feature_store.store import FeatureStore  # a second of imports

        yield FeatureStore.open(settings, name)
    except PresetError as error:
        raise Refusal(str(error), 2) from error
    except FeatureStoreError as error:
        raise Refusal(str(error), error.exit_code) from error


class Refusal(click.ClickException):
    """One line, and the command's exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click documents it as settable


class NothingThere(Refusal):
    """There is no catalog; nothing was made."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 2)
