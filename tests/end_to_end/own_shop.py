"""A shop's log and catalogue in the shape of the README's own-data preset, and the README itself.

Every customer buys products of one kind only: what a customer meets next is of the same kind, and
popularity knows nothing of kinds, so that a model which learns is promoted.
"""

import csv
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

README = Path(__file__).resolve().parents[2] / "README.md"
KINDS = ("tea", "lamps", "rope", "games")
EVENTS_PER_DAY = 3
_SECTION = re.compile(r"^## [^\n]*[Oo]wn data[^\n]*\n(?P<text>.*?)^## ", re.M | re.S)
_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```", re.M | re.S)


def own_data_blocks():
    """(language, text) of every block in the README's section about one's own data."""
    section = _SECTION.search(README.read_text(encoding="utf-8"))
    assert section, "README.md has no section about one's own data"
    return [(block["language"], block["text"]) for block in _BLOCK.finditer(section["text"])]


def own_data_preset():
    """The preset that the section shows, word for word."""
    shown = [text for language, text in own_data_blocks() if language == "yaml"]
    assert len(shown) == 1, "README.md's section about one's own data shows one preset"
    return shown[0]


def own_data_commands():
    """Every `sidereal …` line that the section shows, without its comment."""
    lines = [
        line.split(" #")[0].strip()
        for language, text in own_data_blocks()
        if language != "yaml"
        for line in text.splitlines()
    ]
    return [line for line in lines if line.startswith("sidereal ")]


def products(seed, count=120):
    """Rows of the catalogue: sku, name, description, brand, category."""
    draw = np.random.default_rng(seed)
    for number in range(count):
        kind, brand = KINDS[number % len(KINDS)], f"brand-{draw.integers(5)}"
        text = f"{kind} of {brand}, model {number}"
        yield {
            "sku": f"s-{number:03}",
            "name": f"{kind.title()} {number}",
            "description": text if number % 7 else "",
            "brand": brand,
            "category": kind,
        }


def events(seed, day, last_day, customers=80):
    """Rows of a day: customer, sku, ts in milliseconds, action, seconds.

    A customer meets the products of one kind in an order of their own, each once; what is bought
    or put into the cart, and how long it is looked at, is drawn.
    """
    draw = np.random.default_rng([seed, day.toordinal()])
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    for customer in range(customers):
        order = np.random.default_rng([seed, 7, customer]).permutation(30)
        place = (last_day - day).days * EVENTS_PER_DAY
        for step in range(EVENTS_PER_DAY):
            number = int(order[(place + step) % 30]) * len(KINDS) + (customer + seed) % len(KINDS)
            when = noon + timedelta(minutes=customer, seconds=20 * step)
            yield {
                "customer": f"c-{customer:03}",
                "sku": f"s-{number:03}",
                "ts": int(when.timestamp() * 1000),
                "action": str(draw.choice(["purchase", "cart", "click", "view"])),
                "seconds": round(float(draw.exponential(20)), 1),
            }


def deliver(folder, days, seed=0):
    """Write `products.csv` and `events/<day>/part-0.parquet` for every day below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        rows = list(products(seed))
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for day in days:
        place = folder / "events" / day.isoformat()
        place.mkdir(parents=True)
        table = pa.Table.from_pylist(list(events(seed, day, max(days))))
        pq.write_table(table, place / "part-0.parquet")
