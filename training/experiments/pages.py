"""`results/`, RESULTS.md, and the tables of other documents that are made of results.

    python -m training.experiments.pages [var/runs/PRESET/DAY]

writes RESULTS.md of all results, and what stands between `<!-- results: NAME -->` and
`<!-- /results -->` in README.md; before that, of a day's run, the result `day-PRESET`. A test
checks that both documents are as they would be written.
"""

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from training.experiments.day import result_of_day
from training.experiments.markdown import markdown, rows_of
from training.experiments.result import Result
from training.experiments.winners import winners

PAGE = "RESULTS.md"
DOCUMENTS = ("README.md",)
"""What has tables between marks."""
_MARKED = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- /results -->)", re.DOTALL)
_OPENING = """# Results

Made by `make results` of `results/*.json`: do not edit. Each table says the command that makes it.
A difference is claimed where its interval leaves 0 out, of eight seeds or more; of three where a
fit takes more than five minutes.
"""


def write_result(result: Result, folder: Path, overrides: Sequence[str] = ()) -> Path:
    """Keep a result as JSON and Markdown; returns the JSON's path.

    Args:
        result: what was measured.
        folder: of results.
        overrides: of the caller; other settings are another result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256("\0".join(overrides).encode()).hexdigest()[:8]
    stem = f"{result.experiment}-{result.preset}" + (f"-{digest}" if overrides else "")
    path = folder / f"{stem}.json"
    path.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    return path


def results_in(folder: Path) -> dict[str, Result]:
    """Every result that is kept, by the name of its file."""
    return {path.stem: Result.read(path) for path in sorted(folder.glob("*.json"))}


def page(results: dict[str, Result]) -> str:
    """RESULTS.md: who wins where, then every table."""
    tables = (markdown(result) for result in results.values())
    return "\n".join([_OPENING, winners(results.values()), *tables])


def with_tables(text: str, results: dict[str, Result]) -> str:
    """A document with its tables as the results give them.

    Raises:
        ValueError: it names a result that there is not.
    """

    def table(marked: re.Match[str]) -> str:
        opening, name, closing = marked.groups()
        if name not in results:
            raise ValueError(f"no result {name!r}; there are {', '.join(results)}")
        return f"{opening}{rows_of(results[name])}{closing}"

    return _MARKED.sub(table, text)


def written(root: Path) -> dict[Path, str]:
    """What RESULTS.md and the documents of a checkout should say, by path."""
    results = results_in(root / "results")
    documents = [root / name for name in DOCUMENTS]
    return {
        root / PAGE: page(results),
        **{path: with_tables(path.read_text(encoding="utf-8"), results) for path in documents},
    }


if __name__ == "__main__":
    for run in sys.argv[1:]:
        write_result(result_of_day(Path(run)), Path("results"))
    for path, text in written(Path.cwd()).items():
        path.write_text(text, encoding="utf-8")
