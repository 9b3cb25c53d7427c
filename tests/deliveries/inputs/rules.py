"""What a rule may be, and what it may not: a function of the row, which may fail on a row."""

from tests.deliveries.inputs.reading import TWO, D, one
from tests.deliveries.presets import own
from tests.deliveries.written import csv, row

TIME = "2024-03-10 12:00:00"
WATCH = ("user", "item", "ts", "watched", "length")

NOT_OF_THE_ROW = {
    "rand() < 0.5": "rand",
    "random(3) < 0.5": "random",
    "randn() > 0": "randn",
    "uuid() > 'a'": "uuid",
    "shuffle(array(1, 2))[0] = 1": "shuffle",
    "ts > current_timestamp()": "current_timestamp",
    "ts > now()": "now",
    "to_date(ts) = current_date": "current_date",
    "unix_timestamp() > 0": "unix_timestamp",
    "localtimestamp() > ts": "localtimestamp",
    "liked = (SELECT 1)": "SELECT",
    "EXISTS (SELECT 1)": "SELECT",
    "liked IN (SELECT 1)": "SELECT",
    "java_method('java.lang.Math', 'random') > '0'": "java_method",
    "reflect('java.lang.System', 'getenv', 'HOME') > ''": "reflect",
    "try_reflect('java.lang.Math', 'random') > '0'": "try_reflect",
    "sum(liked) > 1": "sum",
    "row_number() OVER (ORDER BY ts) = 1": "OVER",
    "lag(liked) OVER (PARTITION BY user ORDER BY ts) = 1": "OVER",
    "input_file_name() LIKE '%1'": "input_file_name",
    "monotonically_increasing_id() = 0": "monotonically_increasing_id",
    "spark_partition_id() = 0": "spark_partition_id",
    "current_user() = 'root'": "current_user",
    "version() > ''": "version",
    "explode(array(1, 2)) = 1": "explode",
}

ALONE = (
    "rand() < 0.5",
    "to_date(ts) = current_date",
    "unix_timestamp() > 0",
    "liked IN (SELECT 1)",
    "reflect('java.lang.System', 'getenv', 'HOME') > ''",
    "sum(liked) > 1",
    "row_number() OVER (ORDER BY ts) = 1",
)

REFUSED = [
    one(
        "every function that looks beyond the row, all at once",
        {f"{D}.csv": TWO},
        own(strength={condition: 2 for condition in NOT_OF_THE_ROW}),
        exit_code=2,
        says=[
            f"source.strength.{n}.when: it uses {name}"
            for n, name in enumerate(NOT_OF_THE_ROW.values())
        ],
    ),
    *(
        one(
            f"a rule must be a function of the row: {NOT_OF_THE_ROW[condition]}",
            {f"{D}.csv": TWO},
            own(strength={condition: 2, "TRUE": 0}),
            exit_code=2,
            says=[NOT_OF_THE_ROW[condition]],
        )
        for condition in ALONE
    ),
    one(
        "rules that are wrong in three ways, all at once",
        {f"{D}.csv": TWO},
        own(strength={"rand() < 1": 3, "liked =": 2, "no_such(liked)": 1, "LIKED = 'x": 0}),
        exit_code=2,
        says=["rand", "'='", "no_such", "a quote that is not closed"],
    ),
    one(
        "columns that aren't there, all at once",
        {f"{D}.csv": TWO},
        own(strength={"likd = 1": 3, "liked = 1": 2, "usr = 'u1'": 1}),
        exit_code=2,
        says=["'likd' (did you mean 'liked'?)", "'usr' (did you mean 'user'?)"],
    ),
    one(
        "a column of the mapping and one of a rule that aren't there, at once",
        {f"{D}.csv": TWO},
        own(columns={"user_id": "usr"}, strength={"likd = 1": 2, "TRUE": 0}),
        exit_code=3,
        says=[
            "no column 'usr' (renamed to 'user'?), which source.columns.user_id needs",
            "no column 'likd', which strength rule 1 needs",
        ],
    ),
    one(
        "a rule that is no condition",
        {f"{D}.csv": TWO},
        own(strength={"liked + 1": 2, "TRUE": 0}),
        exit_code=2,
        says=["liked + 1"],
    ),
]


def fails(name, condition, *watched, reason=None, published=1):
    """Rows of u0, u1, …; the first is fine, the rule fails on the others."""
    lines = csv([(f"u{n}", "a", TIME, *cells) for n, cells in enumerate(watched)], header=WATCH)
    return one(
        f"a rule that fails on a row: {name}",
        {f"{D}.csv": lines},
        own(signals=["watched", "length"], strength={condition: 2, "TRUE": 0}),
        published=published,
        quarantined=len(watched) - published,
        table=[("u0", "a", 2)],
        reasons=[reason or f"strength rule 1 fails: {condition}"],
    )


FAILING = [
    fails("division by zero", "watched / length >= 0.5", (10, 20), (10, 0), (1, 0)),
    fails("remainder by zero", "watched % length = 0", (20, 10), (20, 0)),
    fails("a cast of text", "CAST(watched AS INT) = length", (20, 20), ("much", 20)),
    fails(
        "an element beyond the list",
        "element_at(split(watched, '-'), CAST(length AS INT)) = 'b'",
        ("a-b", 2),
        ("a-b", 5),
    ),
    fails(
        "a date that is none", "to_date(watched) = DATE '2024-03-10'", ("2024-03-10", 1), ("x", 1)
    ),
    fails("a number too large", "CAST(watched AS INT) * 100000 > 0", (1, 1), (2147483647, 1)),
    one(
        "a rule fails where an earlier one holds",
        {
            f"{D}.csv": csv(
                [("u0", "a", TIME, 10, 0), ("u1", "a", TIME, 1, 0), ("u2", "a", TIME, 1, 20)],
                header=WATCH,
            )
        },
        own(
            signals=["watched", "length"],
            strength={"watched >= 10": 3, "watched / length >= 0.5": 2, "TRUE": 0},
        ),
        published=2,
        quarantined=1,
        table=[("u0", "a", 3), ("u2", "a", 0)],
        reasons=["strength rule 2 fails: watched / length >= 0.5"],
    ),
]

ALLOWED = [
    one(
        "functions of the row",
        {f"{D}.csv": csv([row("u1"), row("u2", "b", liked=0), row("u3", "b", 59)])},
        own(
            strength={
                "hour(to_timestamp_ntz(ts)) = 12 AND minute(to_timestamp_ntz(ts)) > 30": 3,
                "lower(item) RLIKE '^a$' AND liked BETWEEN 1 AND 2": 2,
                "CASE WHEN liked IS NULL THEN FALSE ELSE hash(user) IS NOT NULL END": 1,
            }
        ),
        published=3,
        table=[("u1", "a", 2), ("u2", "b", 1), ("u3", "b", 3)],
    ),
    one(
        "a rule that is null doesn't hold",
        {f"{D}.csv": csv([row("u1", liked=""), row("u2")])},
        own(strength={"liked = 1 AND nullif(liked, 1) = 1": 3, "liked >= 1": 2, "TRUE": 0}),
        published=2,
        table=[("u1", "a", 0), ("u2", "a", 2)],
    ),
    one(
        "columns in other letters than the file's",
        {f"{D}.csv": TWO},
        own(signals=["LIKED"], strength={"Liked = 1": 2, "TRUE": 0}),
        published=2,
        table=[("u1", "a", 2), ("u2", "a", 2)],
    ),
]

INPUTS = [*REFUSED, *FAILING, *ALLOWED]
