"""`docs/presets.md`, `docs/settings.md` and a part of ARCHITECTURE.md, made from the code."""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from feature_store.settings import REPOSITORY, Settings
from sidereal.architecture import PAGE, architecture_page
from sidereal.preset_reference import Key, as_yaml, keys, meanings

MADE = "<!-- Made by `sidereal presets reference --write`; edit the docstrings of the fields. -->"
INFRASTRUCTURE = REPOSITORY / "infra" / "README.md"


def pages() -> dict[Path, str]:
    """The pages by their place in the checkout."""
    docs = REPOSITORY / "docs"
    return {
        docs / "presets.md": preset_page(),
        docs / "settings.md": settings_page(),
        PAGE: architecture_page(),
    }


def preset_page() -> str:
    """A table per section of a preset: every key, its type, default and meaning."""
    lines = [
        "# Keys of a preset",
        "",
        MADE,
        "",
        "A preset is one YAML. `sidereal init DIR` makes one, `sidereal presets check NAME` says",
        "what is wrong with it, `sidereal presets show NAME` what is in force. Every key can be",
        "changed for one command by `--set section.key=value`.",
        *_sections(),
    ]
    return "\n".join(lines) + "\n"


def _sections() -> Iterator[str]:
    plain: list[Key] = []
    for key in keys():
        if "." not in key.path and not key.is_section:
            plain.append(key)
    yield from ("", "## The preset itself", "", *_table(plain, ""))
    open_table = ""
    for key in keys():
        if key.path.startswith("training.overrides."):
            continue  # the keys of `training`, for each family
        if "." not in key.path:
            if key.is_section:
                yield from ("", f"## `{key.path}`", "", key.meaning)
                open_table = ""
            continue
        title = _title(key)
        if title != open_table:
            open_table = title
            yield from ("", *([f"### `{title}`", ""] if title.count(".") or ":" in title else []))
            if key.path == title:
                yield from (key.meaning, "")
            yield from ("| key | type | default | meaning |", "|---|---|---|---|")
        if key.path != title:
            yield _row(key, _inside(key))


def _title(key: Key) -> str:
    """The heading that a key stands below: its section, layout, or family's settings."""
    parts = key.path.split(".")
    if key.layout:
        return f"source.layout: {key.layout}"
    if "settings" in parts[1:-1] and parts[0] != "alignment":
        return ".".join(parts[:3])
    return parts[0]


def _inside(key: Key) -> str:
    """The key's path below its heading."""
    title = _title(key)
    if key.layout:
        return key.path.removeprefix("source.")
    return key.path.removeprefix(f"{title}.")


def _table(found: list[Key], before: str) -> list[str]:
    head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return [*head, *(_row(key, key.path.removeprefix(before)) for key in found)]


def _row(key: Key, name: str) -> str:
    default = "**must be there**" if key.default is None else f"`{key.default}`"
    if key.default in ("", "{}") or key.path == "name":
        default = ""
    return f"| `{name}` | {key.kind} | {default} | {_cell(key.meaning)} |"


def _cell(text: str) -> str:
    text = re.sub(r"(?<![`/])(<\w+>[\w/.]*\w)(?!`)", r"`\1`", text)
    return text.replace("|", "\\|")


def settings_page() -> str:
    """The variables of the environment: those that every command reads, and the DAGs' own."""
    said = meanings(Settings)
    rows = []
    for name, field in Settings.model_fields.items():
        default = _default(field.default)
        rows.append(f"| `SIDEREAL_{name.upper()}` | {default} | {_cell(said[name])} |")
    table = re.findall(
        r"^\| `(?:SIDEREAL|AIRFLOW)_.*$", INFRASTRUCTURE.read_text(encoding="utf-8"), re.M
    )
    lines = [
        "# Variables",
        "",
        MADE.replace(
            "the docstrings of the fields", "`feature_store/settings.py`, `infra/README.md`"
        ),
        "",
        "Set in the environment, or in a file `.env` in the folder where `sidereal` is started:",
        "`NAME=value` lines, `#` comments, nothing is expanded, a relative path starts at the",
        "file. The environment wins. Airflow and its tasks inherit both, so a line of a crontab",
        "needs no more than its folder:",
        "",
        "```",
        "0 4 * * *  cd /srv/shop && sidereal run --preset shop --yesterday",
        "```",
        "",
        "## Read by every command",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
        *rows,
        "",
        "## Read by the DAGs",
        "",
        "`sidereal run` sets what it needs of these itself.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
        *table,
    ]
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if isinstance(value, Path):
        place = value.relative_to(REPOSITORY)
        return f"`{place}` of the checkout"
    return f"`{as_yaml(value)}`" if value not in ("", None, SecretStr("")) else ""
