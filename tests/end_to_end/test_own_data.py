"""The README's way for one's own data, word for word, and two shops in one home.

The preset is read out of README.md; data of that shape is made; every step of two days is the real
one, with models that are too small to be good.
"""

import hashlib
import json
import shlex
from datetime import date, timedelta

import click
import pytest
import yaml

from feature_store.settings import Settings
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from sidereal.cli import main
from tests.end_to_end.own_shop import (
    EVENTS_PER_DAY,
    deliver,
    own_data_commands,
    own_data_preset,
)
from tests.end_to_end.steps import daily_steps

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.spark,
    pytest.mark.xdist_group("chain"),
    pytest.mark.timeout(1800),
]

DAYS = (date(2026, 3, 1), date(2026, 3, 2))
DELIVERED = [DAYS[0] - timedelta(days=back) for back in range(9, 0, -1)] + [*DAYS]
CUSTOMERS = 80
SMALL = (
    "tokenizer.codebook_size=8",
    "tokenizer.iterations=5",
    "models.settings.tiger={width: 16, num_layers: 1, beam_width: 20}",
    "models.settings.sasrec={width: 16, num_layers: 1, num_heads: 1}",
    "training.max_epochs=1",
    "evaluation.bootstrap_samples=200",
)
KIOSK = {
    "name": "kiosk",
    # Vectors of attributes: no encoder is loaded a second time.
    "embedding": {"encoder": "categorical", "dimensions": 16},
}


@pytest.fixture(scope="module")
def shops(tmp_path_factory, spark):
    """A function that makes a home with both shops' presets and deliveries; returns its folder."""

    def make(name):
        home = tmp_path_factory.mktemp(name)
        shop = yaml.safe_load(own_data_preset())
        other = shop | KIOSK
        moved = json.dumps(shop["source"]).replace("shop/", "kiosk/")
        (home / "presets").mkdir()
        (home / "presets" / "shop.yaml").write_text(own_data_preset())
        (home / "presets" / "kiosk.yaml").write_text(
            yaml.safe_dump(other | {"source": json.loads(moved)})
        )
        deliver(home / "data" / "shop", DELIVERED)
        deliver(home / "data" / "kiosk", DELIVERED, seed=1)
        return home

    return make


def run(home, preset, day):
    """All steps of a day of a preset, in a home."""
    places = {"SIDEREAL_HOME": home / "home", "SIDEREAL_DATA": home / "data"}
    with daily_steps(preset, SMALL, **places, SIDEREAL_PRESETS=home / "presets") as steps:
        steps(day)


@pytest.fixture(scope="module")
def shop(shops):
    """The README's shop in a home of its own, after two days."""
    home = shops("shop")
    for day in DAYS:
        run(home, "shop", day)
    return home


def records(home, preset, day):
    """Run records of a day by step."""
    folder = home / "home" / "runs" / preset / str(day) / "steps"
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def store(home, preset):
    """A preset's tables."""
    return FeatureStore.open(Settings(home=home / "home"), preset)


def champion(home, preset):
    """The version that recommends; None where there is none."""
    from training.registry.client import Registry

    versions = Registry.open(Settings(home=home / "home"), preset).versions()
    return next((each for each in versions if "champion" in each.aliases), None)


@pytest.mark.parametrize("line", own_data_commands())
def test_the_readme_s_commands_are_commands(line):
    arguments = shlex.split(line)[1:]
    context = main.make_context("sidereal", arguments)
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    assert context.command is not main and context.command.callback is not None


def test_the_readme_s_preset_publishes_every_row_with_its_strength(shop):
    for place, day in enumerate(DAYS):
        facts = records(shop, "shop", day)["ingest_interactions"]
        days = len(DELIVERED) - 1 if place == 0 else 1
        assert facts["rows_in"] == facts["published"] == days * CUSTOMERS * EVENTS_PER_DAY
        assert facts["quarantined"] == facts["duplicates"] == 0
    rows = store(shop, "shop").read("interactions").to_pylist()
    assert {row["strength"] for row in rows} == {0, 1, 2, 3}
    for row in rows:
        signals = dict(row["signals"])
        action, seconds = signals["action"], float(signals["seconds"])
        wanted = {"purchase": 3, "cart": 2}.get(action, 2 if seconds >= 30 else action == "click")
        assert row["strength"] == wanted


def test_the_readme_s_preset_leads_to_a_promoted_bundle_and_recommendations(shop):
    promoted = champion(shop, "shop")
    assert promoted is not None
    assert "promote" in records(shop, "shop", DAYS[0])["promote_recommender"]["decision"]
    for day in DAYS:
        rows = store(shop, "shop").read("recommendations", partition=day)
        assert rows.num_rows == CUSTOMERS
        assert (shop / "home" / "runs" / "shop" / str(day) / "report.html").is_file()


def weights(home, preset):
    """SHA-256 of every file of weights in the champion's bundle."""
    artifacts = home / "home" / "mlflow" / "artifacts"
    files = sorted(artifacts.rglob(f"{champion(home, preset).run_id}/**/*.safetensors"))
    assert files
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


VOLATILE = (
    *("second", "bytes", "message", "share", "started"),  # how long it took, and text that says so
    *("snapshot", "run_id", "path", "inputs", "docs", "state"),  # ids of versions, and places
)
"""Parts of keys whose values differ from run to run by their nature."""


def steady(value, home):
    """A record without what differs from run to run."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not any(part in k for part in VOLATILE)}
        return {key: steady(each, home) for key, each in kept.items()}
    if isinstance(value, list):
        return [steady(each, home) for each in value]
    return value.replace(str(home), "HOME") if isinstance(value, str) else value


def state(home, preset):
    """What a preset's two days left: contents, records, the champion's family."""
    tables = store(home, preset)
    return {
        "tables": {name: tables.content_hash(name) for name in CATALOG if tables.exists(name)},
        "recommendations": [
            tables.read("recommendations", partition=day).to_pylist() for day in DAYS
        ],
        "records": {str(day): steady(records(home, preset, day), home) for day in DAYS},
        "champion": (champion(home, preset).family, champion(home, preset).day),
        "weights": weights(home, preset),
    }


@pytest.mark.exhaustive
def test_two_shops_in_one_home_leave_what_each_leaves_in_a_home_of_its_own(shops, shop):
    together, alone = shops("together"), shops("kiosk")
    for day in DAYS:
        for preset in ("shop", "kiosk"):
            run(together, preset, day)
        run(alone, "kiosk", day)
    differences = {
        preset: differing(state(together, preset), state(home, preset))
        for preset, home in (("shop", shop), ("kiosk", alone))
    }
    assert differences == {"shop": [], "kiosk": []}
    assert state(together, "shop")["tables"] != state(together, "kiosk")["tables"]


def differing(a, b, at=""):
    """(place, value in a, value in b) wherever two nested states differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(a.keys() | b.keys())
        return [found for key in keys for found in differing(a.get(key), b.get(key), f"{at}/{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [found for n, (x, y) in pairs for found in differing(x, y, f"{at}/{n}")]
    return [] if a == b else [(at, a, b)]
