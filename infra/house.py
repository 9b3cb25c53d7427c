"""`make house`: how large and how tangled the code is. A mirror and no gate: it always exits 0.

Tests are left out. Each measure stands beside what it should come to, where there is such a goal.
"""

import ast
import gc
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("feature_store", "pipelines", "training", "dags", "sidereal")
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "DECISIONS.md", "PAPERS.md", "CONTRIBUTING.md")
LONG_FILE, LONGEST_FILE = 300, 400
LONG_FUNCTION, LONGEST_FUNCTION = 40, 60
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Measure(NamedTuple):
    """One line of the mirror."""

    name: str
    value: str
    goal: str = ""


def sources(root: Path = ROOT) -> dict[Path, str]:
    """Text of every Python file of the packages, by path below `root`."""
    files = (path for package in PACKAGES for path in sorted((root / package).rglob("*.py")))
    return {path.relative_to(root): path.read_text(encoding="utf-8") for path in files}


def file_measures(texts: Mapping[Path, str]) -> Iterator[Measure]:
    """How long files are."""
    lines = {path: text.count("\n") for path, text in texts.items()}
    filled = [count for count in lines.values() if count]
    longest = max(lines, key=lines.__getitem__)
    yield Measure("lines, files", f"{sum(filled):,}, {len(filled)}")
    yield Measure("file: median, largest", f"{median(filled):.0f}, {lines[longest]} ({longest})")
    yield Measure(f"files above {LONG_FILE}", _count(filled, LONG_FILE), "10")
    yield Measure(f"files above {LONGEST_FILE}", _count(filled, LONGEST_FILE), "0")


def function_measures(texts: Mapping[Path, str]) -> Iterator[Measure]:
    """How long functions are, and how many public ones say what they do."""
    nodes = [node for text in texts.values() for node in _functions(_parsed(text))]
    lengths = [_length(node) for node in nodes]
    public = [node for node in nodes if not node.name.startswith("_")]
    annotated = sum(node.returns is not None for node in public)
    above = sum(length > LONG_FUNCTION for length in lengths)
    yield Measure("functions, median", f"{len(lengths):,}, {median(lengths):.0f}")
    yield Measure(f"functions above {LONG_FUNCTION}", f"{above} ({above / len(lengths):.1%})")
    yield Measure(f"functions above {LONGEST_FUNCTION}", _count(lengths, LONGEST_FUNCTION), "0")
    yield Measure("public functions with a return type", f"{annotated / len(public):.0%}", "100%")


def config_fields(texts: Mapping[Path, str]) -> Measure:
    """Settings that a preset can have: fields of its sections and of the families' shapes."""
    count = 0
    for path, text in texts.items():
        # What a family says of itself (`FamilySpec`) is no setting.
        of_shapes = path.is_relative_to("training/settings") and path.stem != "spec"
        for node in ast.walk(_parsed(text)):
            if isinstance(node, ast.ClassDef) and (of_shapes or _bases(node) & {"Section"}):
                count += sum(isinstance(part, ast.AnnAssign) for part in node.body)
    return Measure("fields of presets", str(count), "300")


def typed_share(texts: Mapping[Path, str], root: Path = ROOT) -> Measure:
    """Share of the lines that mypy checks."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    checked = project["tool"]["mypy"]["files"]
    lines = {path: text.count("\n") for path, text in texts.items()}
    typed = sum(n for path, n in lines.items() if any(path.is_relative_to(c) for c in checked))
    return Measure("lines under mypy", f"{typed / sum(lines.values()):.0%}", "100%")


def import_circles() -> Iterator[Measure]:
    """Modules that import each other, however far around; imports for types alone left out."""
    import grimp
    import networkx

    sys.path.insert(0, str(ROOT))  # this checkout, whatever is installed
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True)
    edges = networkx.DiGraph(
        (module, imported)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    )
    circles = [part for part in networkx.strongly_connected_components(edges) if len(part) > 1]
    yield Measure("import circles", str(len(circles)), "0")
    for circle in circles:
        yield Measure("", " ↔ ".join(sorted(circle)))


def number_density(text: str) -> float:
    """Numbers per 100 words of a document; code blocks and tables of results left out.

    Example:
        >>> number_density("It took 5 s, or 6.5 s.")
        33.33333333333333
    """
    made = r"```.*?```|<!-- results: .*?<!-- /results -->"
    prose = re.sub(made, "", text, flags=re.DOTALL)
    words = [word for word in prose.split() if re.search(r"\w", word)]
    return 100 * sum(bool(re.search(r"\d", word)) for word in words) / max(1, len(words))


def document_measures(root: Path = ROOT) -> Iterator[Measure]:
    """How long documents are, and how many numbers they have."""
    for name in DOCUMENTS:
        text = (root / name).read_text(encoding="utf-8")
        goal = "90 lines, 4" if name == "README.md" else ""
        told = f"{text.count(chr(10))} lines, {number_density(text):.1f} numbers per 100 words"
        yield Measure(name, told, goal)


def _parsed(text: str) -> ast.Module:
    """A module's tree. Python 3.11 fails to make one where a finaliser runs meanwhile."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        if was_enabled:
            gc.enable()


def _functions(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _length(node: Function) -> int:
    """Lines of a function without its docstring."""
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def _bases(node: ast.ClassDef) -> set[str]:
    return {base.id for base in node.bases if isinstance(base, ast.Name)}


def _count(sizes: Iterable[int], limit: int) -> str:
    return str(sum(size > limit for size in sizes))


@click.command()
def house() -> None:
    """Print the mirror: sizes, circles and densities, each beside what it should come to."""
    texts = sources()
    measures = [
        *file_measures(texts),
        *function_measures(texts),
        config_fields(texts),
        typed_share(texts),
        *import_circles(),
        *document_measures(),
    ]
    for measure in measures:
        goal = f"  (goal {measure.goal})" if measure.goal else ""
        click.echo(f"{measure.name:36} {measure.value}{goal}")


if __name__ == "__main__":
    house()
