"""`.env` in the working directory: where a deployment's presets, data and state lie.

`sidereal` reads it before anything else, so that a shell, cron (`cd DIR && sidereal run …`) and
systemd (WorkingDirectory=) need nothing more; Airflow and its tasks inherit what was read. A
variable that is set already wins. Imports next to nothing: `sidereal --help` must be quick.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

NAME = ".env"
PATHS = frozenset({"SIDEREAL_HOME", "SIDEREAL_RUNS", "SIDEREAL_DATA", "SIDEREAL_PRESETS"})
"""Variables that hold a path; a relative one starts at the folder of the file."""


class EnvironmentFileError(ValueError):
    """An environment file with a line that says nothing; commands exit 2."""


def read_variables(path: Path) -> dict[str, str]:
    """Variables of an environment file: `NAME=value` lines, `#` comments, nothing is expanded.

    Raises:
        EnvironmentFileError: a line is neither; names the file and the line.
    """
    variables = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, separator, value = text.partition("=")
        if not separator or not name.isidentifier():
            raise EnvironmentFileError(
                f"{path}, line {number}: {text!r} is not of the form NAME=value"
            )
        variables[name] = value
    return variables


def apply(folder: Path, environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what `.env` in a folder says and the environment doesn't; does nothing without one.

    Raises:
        EnvironmentFileError: a line is not of the form NAME=value.
    """
    path = folder / NAME
    if not path.is_file():
        return
    for name, value in read_variables(path).items():
        value = _unquoted(value)
        if name in PATHS:
            value = str((folder / Path(value).expanduser()).absolute())
        environment.setdefault(name, value)


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted else value
