"""The `schedule` section of a preset: which days `sidereal run` drives when none are given."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from feature_store.preset import PresetError, load_preset


class Schedule(BaseModel):
    """Days, in the order in which they are run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: tuple[date, ...] = ()


def load_schedule(preset: str, *, folder: Path, overrides: Iterable[str] = ()) -> Schedule:
    """The schedule of a preset; empty where it has none.

    Raises:
        PresetError: the preset can't be read, or its schedule holds an unknown key or no dates.
    """
    section = load_preset(preset, folder=folder, overrides=overrides).get("schedule") or {}
    try:
        return Schedule.model_validate(section)
    except ValidationError as error:
        lines = [
            f"  schedule.{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            f" (found {problem.get('input')!r:.80})"
            for problem in error.errors()
        ]
        raise PresetError(f"preset {preset!r}:\n" + "\n".join(lines)) from error
