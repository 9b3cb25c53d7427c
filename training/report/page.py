"""From what a page says to one self-contained HTML file."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from training.report.blocks import Section
from training.report.opening import Opening

_CODE = re.compile(r"`([^`]+)`")


def day_page(
    preset: str, day: str, description: str, opening: Opening, sections: Sequence[Section]
) -> str:
    """The page of a day.

    Args:
        preset: its name.
        day: ISO.
        description: of the preset's data.
        opening: the first screen.
        sections: the cards below it.
    """
    return render(
        "template.html", preset=preset, day=day, description=description, opening=opening,
        sections=sections,
    )  # fmt: skip


def render(name: str, **given: Any) -> str:
    """A template of this package with what it is given."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader("training", "report"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = code
    return environment.get_template(name).render(**given)


def code(text: str) -> Markup:
    """The text, escaped, with what stands between backticks as code.

    Example:
        >>> code("`a` < b")
        Markup('<code>a</code> &lt; b')
    """
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def replace_page(path: Path, page: str) -> None:
    """Put a page in the place of the one before, which is whole until then."""
    beside = path.with_suffix(".html.tmp")
    beside.write_text(page, encoding="utf-8")
    beside.replace(path)
