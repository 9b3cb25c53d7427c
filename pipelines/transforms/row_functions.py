"""What a strength rule may be made of: functions of the row's columns, and of nothing else.

A rerun must give the same table. A rule may therefore not draw numbers, look at the clock, the
session, the file or another row, nor call code that we can't see. What isn't listed is refused.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from pipelines.transforms.catalyst import is_a, is_foldable, kind, nodes, replaced, value_of

ROW_FUNCTIONS = frozenset(
    # Conditions.
    "and or not ! = == != <> < <= > >= <=> in between case when if like ilike rlike regexp "
    "regexp_like coalesce nvl nvl2 ifnull nullif nullifzero zeroifnull isnull isnotnull isnan "
    "nanvl greatest least equal_null "
    # Types.
    "cast bigint binary boolean date decimal double float int smallint string timestamp tinyint "
    "typeof "
    # Numbers.
    "+ - * / % div & | ^ ~ << >> >>> abs acos acosh asin asinh atan atan2 atanh bin bit_count "
    "bit_get bround cbrt ceil ceiling conv cos cosh cot csc degrees e exp expm1 factorial floor "
    "getbit hex hypot ln log log10 log1p log2 mod negative pi pmod positive pow power radians rint "
    "round sec shiftleft shiftright shiftrightunsigned sign signum sin sinh sqrt tan tanh try_add "
    "try_divide try_mod try_multiply try_subtract unhex width_bucket "
    # Text.
    "|| ascii base64 bit_length btrim char char_length character_length chr collate collation "
    "concat concat_ws contains crc32 decode elt encode endswith find_in_set format_number "
    "format_string get_json_object hash initcap instr is_valid_utf8 json_array_length "
    "json_object_keys lcase left len length levenshtein locate lower lpad ltrim luhn_check "
    "make_valid_utf8 mask md5 octet_length overlay parse_url position printf quote regexp_count "
    "regexp_extract regexp_extract_all regexp_instr regexp_replace regexp_substr repeat replace "
    "reverse right rpad rtrim sentences sha sha1 sha2 soundex space split split_part startswith "
    "str_to_map substr substring substring_index to_binary to_char to_number to_varchar translate "
    "trim try_parse_url try_to_binary try_to_number try_url_decode try_validate_utf8 ucase "
    "unbase64 upper url_decode url_encode validate_utf8 xxhash64 "
    # Lists, maps and structs.
    "aggregate array array_append array_compact array_contains array_distinct array_except "
    "array_insert array_intersect array_join array_max array_min array_position array_prepend "
    "array_remove array_repeat array_size array_sort array_union arrays_overlap arrays_zip "
    "cardinality element_at exists filter flatten forall get map map_concat map_contains_key "
    "map_entries map_filter map_from_arrays map_from_entries map_keys map_values map_zip_with "
    "named_struct reduce sequence size slice sort_array struct transform transform_keys "
    "transform_values try_element_at zip_with "
    # Dates and times.
    "add_months convert_timezone date_add date_diff date_format date_from_unix_date date_part "
    "date_sub date_trunc dateadd datediff datepart day dayname dayofmonth dayofweek dayofyear "
    "extract from_unixtime from_utc_timestamp hour last_day make_date make_dt_interval "
    "make_interval make_timestamp make_timestamp_ltz make_timestamp_ntz make_ym_interval minute "
    "month monthname months_between next_day quarter second timestamp_micros timestamp_millis "
    "timestamp_seconds to_date to_timestamp to_timestamp_ltz to_timestamp_ntz to_unix_timestamp "
    "to_utc_timestamp trunc try_make_interval try_make_timestamp try_make_timestamp_ltz "
    "try_make_timestamp_ntz try_to_date try_to_timestamp unix_date unix_micros unix_millis "
    "unix_seconds unix_timestamp weekday weekofyear year "
    # A row that a rule can't judge.
    "assert_true raise_error".split()
)
"""Spark's functions and operators whose value follows from their arguments."""
_LEAVES = frozenset(
    "AttributeReference Literal NamedLambdaVariable CommonExpressionRef Pi EulerNumber "
    "CreateArray CreateMap Concat".split()
)
"""Nodes without children that an analysed rule may have; Spark's clock and its like are others."""
_WITHOUT_BRACKETS = frozenset(
    "current_catalog current_database current_date current_path current_schema current_time "
    "current_timestamp current_timezone current_user localtimestamp session_user user".split()
)
"""Functions that SQL calls without brackets, where no column has their name."""
_FULL_DATE = re.compile(r"\s*[+-]?\d{4,}(?!\d*:)")
"""How a date begins that owes nothing to the clock: not 'now', not '12:30'."""
_DATES = ("date", "timestamp", "timestamp_ntz")
_OF_THE_ROW = "a rule is a function of the row's columns alone"


def foreign_name(tree: Any, rule: str, columns: Collection[str]) -> str | None:
    """What a parsed rule calls or names that isn't of the row; None: nothing.

    Args:
        tree: as `parse` gives it.
        rule: its text.
        columns: raw columns, in lower case.
    """
    for node in nodes(tree):
        problem = _foreign(node, rule, columns)
        if problem:
            return problem
    return None


def foreign_node(plan: Any) -> str | None:
    """What an analysed rule depends on besides the row; None: nothing.

    Args:
        plan: the analysed plan of a filter by the rule.
    """
    condition = replaced(plan).condition()
    return next(_dependencies(condition), None)


def _foreign(node: Any, rule: str, columns: Collection[str]) -> str | None:
    called = kind(node)
    if called == "UnresolvedFunction":
        name = ".".join(_parts(node)).lower()
        return None if name in ROW_FUNCTIONS else f"it uses {name}, and {_OF_THE_ROW}"
    if called == "UnresolvedAttribute":
        name = _parts(node)[0].lower()
        is_call = name in _WITHOUT_BRACKETS and name not in columns
        return f"it uses {name}, and {_OF_THE_ROW}" if is_call else None
    if called == "UnresolvedStar":
        return "it uses *; name the columns"
    if called == "WindowExpression":
        return f"it uses a window (OVER), and {_OF_THE_ROW}"
    if is_a(node, "PlanExpression") or called == "InSubquery":
        return f"it uses a subquery, and {_OF_THE_ROW}"
    if called == "Literal" and str(node.dataType().typeName()) in _DATES:
        return _clock_in_text(rule, node.origin())
    return None


def _clock_in_text(rule: str, origin: Any) -> str | None:
    written = rule[origin.startIndex().get() : origin.stopIndex().get() + 1]
    text = re.search(r"""['"](.*)['"]""", written, re.DOTALL)
    return _clock(text[1]) if text else None


def _clock(text: str) -> str | None:
    if _FULL_DATE.match(text):
        return None
    return f"it reads {text!r} as a date, which the clock would complete; write a full date"


def _dependencies(condition: Any) -> Iterator[str]:
    for node in nodes(condition):
        is_leaf = not node.children().size()
        if (is_leaf and kind(node) not in _LEAVES) or is_a(node, "PlanExpression"):
            yield f"it uses {node.prettyName()}, and {_OF_THE_ROW}"
        if kind(node) == "Cast" and str(node.child().dataType().typeName()) == "string":
            yield from _clock_in_cast(node)
    if not condition.deterministic():
        yield f"its value changes from run to run, and {_OF_THE_ROW}"


def _clock_in_cast(cast: Any) -> Iterator[str]:
    target = str(cast.dataType().typeName())
    if target not in _DATES:
        return
    if is_foldable(cast.child()):
        text = value_of(cast.child())
        problem = _clock(text) if text is not None else None
        if problem:
            yield problem
    elif target == "timestamp":
        yield (
            "it reads text as a timestamp, and Spark completes a time without a date from the "
            f"clock; write to_timestamp_ntz({cast.child().sql()})"
        )


def _parts(node: Any) -> list[str]:
    parts = node.nameParts()
    return [str(parts.apply(place)) for place in range(parts.size())]
