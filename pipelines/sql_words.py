"""The words of a Spark SQL condition, without Spark: what it calls and which columns it names.

Spark's own parser takes seconds to start. This reads enough to tell a misspelt column before
anything runs; what it lets through Spark judges before the first row is read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.transforms.row_function_names import WITHOUT_BRACKETS

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<text>[rR]?'(?:[^'\\]|\\.|'')*'|[rR]?"(?:[^"\\]|\\.|"")*")
      | `(?P<quoted>(?:[^`]|``)*)`
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?:BD|[LSYDF])?(?!\w))
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign>->|::|[^\s])""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_KEYWORDS = frozenset(
    "and or not in is null true false like ilike rlike regexp between case when then else end as "
    "distinct from escape div interval all any some both leading trailing for exists over "
    "partition order by rows range asc desc date timestamp select where group having using "
    "unknown".split()
)
_CALLED_WITHOUT_BRACKETS = WITHOUT_BRACKETS - {"user", "session_user"}
_CLOCKS = ("unix_timestamp",)
"""Functions of their arguments, which without any tell the time."""
_QUERIES = {"select": "SELECT", "over": "OVER, a window"}
_UNFINISHED = frozenset(
    "= == != <> <= >= < > + - * / % || && & | ^ and or not in is ( , . -> ::".split()
)
"""What no condition ends with."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a condition is made of.

    Args:
        columns: names that stand for columns, as written.
        functions: names that are called, in lower case; those that SQL calls without brackets
            among them, but for `user`, which many logs have as a column.
        problem: why it can't be a condition about one row; empty where it can.
    """

    columns: tuple[str, ...]
    functions: tuple[str, ...]
    problem: str = ""


def words_of(condition: str) -> Words:
    """Columns and functions of a condition.

    Example:
        >>> words_of("size(filter(tags, t -> t <> 'x')) > 0 AND price >= 1.5")
        Words(columns=('tags', 'price'), functions=('size', 'filter'), problem='')
        >>> words_of("name = 'x").problem
        'a quote that is not closed'
        >>> words_of("day < current_date AND unix_timestamp(day) < unix_timestamp()").functions
        ('current_date', 'unix_timestamp', 'unix_timestamp()')
    """
    tokens = list(_tokens(condition))
    problem = _problem(tokens)
    arguments = frozenset(_lambda_arguments(tokens))
    columns, functions = [], []
    for place, (kind, text) in enumerate(tokens):
        before = tokens[place - 1][1].lower() if place else ""
        after = tokens[place + 1] if place + 1 < len(tokens) else ("", "")
        if kind == "quoted":
            columns.append(text)
        if kind != "word" or before in (".", "::", "as"):
            continue
        if after[1] == "(" and text.lower() not in _KEYWORDS - {"date", "timestamp"}:
            is_clock = text.lower() in _CLOCKS and tokens[place + 2 : place + 3] == [("sign", ")")]
            functions.append(f"{text.lower()}()" if is_clock else text.lower())
        elif text.lower() in _CALLED_WITHOUT_BRACKETS:
            functions.append(text.lower())
        elif text.lower() in _KEYWORDS or text in arguments or _is_unit(tokens, place):
            continue
        elif after[0] != "text" or text.lower() not in ("x", "timestamp_ntz", "timestamp_ltz"):
            columns.append(text)
    return Words(tuple(dict.fromkeys(columns)), tuple(dict.fromkeys(functions)), problem)


def _tokens(condition: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(condition):
        kind = str(match.lastgroup)
        if kind != "space":
            yield kind, match[kind]


def _problem(tokens: list[tuple[str, str]]) -> str:
    if not tokens:
        return "is empty"
    signs = [text for kind, text in tokens if kind == "sign"]
    if any(sign in "'\"`" for sign in signs):
        return "a quote that is not closed"
    if signs.count("(") != signs.count(")"):
        return "a bracket that is not closed, or one too many"
    if ";" in signs:
        return "more than one statement"
    words = [text.lower() for kind, text in tokens if kind == "word"]
    queries = [_QUERIES[word] for word in words if word in _QUERIES]
    if queries:
        return f"it uses {queries[0]}: a condition is about one row"
    kind, last = tokens[-1]
    if kind in ("word", "sign") and last.lower() in _UNFINISHED:
        return f"nothing follows {last!r} at its end"
    return ""


def _lambda_arguments(tokens: list[tuple[str, str]]) -> Iterator[str]:
    """Names before `->`, alone or in brackets."""
    for place, (_, text) in enumerate(tokens):
        if text != "->" or not place:
            continue
        back = place - 1
        if tokens[back][1] != ")":
            yield tokens[back][1]
            continue
        while back and tokens[back][1] != "(":
            back -= 1
            if tokens[back][0] == "word":
                yield tokens[back][1]


def _is_unit(tokens: list[tuple[str, str]], place: int) -> bool:
    """`DAY` in `INTERVAL 1 DAY` and in `extract(DAY FROM …)`."""
    before = [text.lower() for _, text in tokens[max(place - 3, 0) : place]]
    after = tokens[place + 1][1].lower() if place + 1 < len(tokens) else ""
    return "interval" in before or after == "from" or (bool(before) and before[-1] == "to")
