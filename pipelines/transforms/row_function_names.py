"""What rules may be made of, by name; imports nothing: presets are checked without Spark."""

OF_THE_ROW = "a rule is a function of the row's columns alone"
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
WITHOUT_BRACKETS = frozenset(
    "current_catalog current_database current_date current_path current_schema current_time "
    "current_timestamp current_timezone current_user localtimestamp session_user user".split()
)
"""Functions that SQL calls without brackets, where no column has their name."""
KNOWN_BEYOND_THE_ROW = WITHOUT_BRACKETS | frozenset(
    "avg collect_list count curdate explode first java_method lag last lead max mean median min "
    "now posexplode rand randn random rank reflect row_number shuffle sum try_reflect "
    "unix_timestamp() uuid version".split()
)
"""Functions that somebody means when they write them: no misspelt name of one of the row's."""
