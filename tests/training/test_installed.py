"""Families and tokenizers of somebody else's package, found by their entry points."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from feature_store.installed import PluginError, Registry
from training.evaluation.metrics import FEEDBACK, LISTS
from training.evaluation.record import Evaluation
from training.models import MODELS
from training.programs.errors import ProgramError
from training.programs.training_data import training_data_for
from training.report.sections.boards import board_section
from training.settings import FAMILIES
from training.settings import TOKENIZERS as KINDS
from training.tokenizers import TOKENIZERS

HERE = Path(__file__).resolve()
STRANGERS = HERE.parents[1] / "plugin" / "strangers.py"
ENTRY_POINTS = """
[sidereal.models]
follower = strangers:FOLLOWER
taster = strangers:TASTER

[sidereal.tokenizers]
other_kmeans = strangers:OtherKMeans
"""
PRESET = """
models: {models}
evaluation: {{holdout_days: 7, validation_days: 2, cutoffs: [1, 10], bootstrap_samples: 200}}
gate: {gate}
recommendations: {{num_items: 5}}
"""
OVERRIDES = (
    "models.settings.follower.popularity=much",
    "models.settings.follower.populraity=1",
    "models.settings.follower.popularity=-1",
    "models.baselines=[followr, popularity]",
    "gate.primary_metric=auc",
    "tokenizer.kind=other_kmeans",
    "training.overrides.follower={max_epochs: 0}",
    "models={challenger: taster, baselines: [popularity]}",
)


def install(folder, entry_points, *, name="strangers", version="1.0"):
    """Make a package known, as pip does when it has unpacked one."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """What programs say of a day whose preset names the package's families."""
    folder = tmp_path_factory.mktemp("installed")
    site = folder / "site"
    install(site, ENTRY_POINTS)
    shutil.copy(STRANGERS, site)
    settings = "settings: {follower: {popularity: 0.25}, taster: {prior: 3.0}}"
    presets = {
        "recommends": (
            f"{{challenger: follower, baselines: [item_knn, popularity], {settings}}}",
            "{primary_metric: ndcg@10, guard_metrics: [hr@10]}",
        ),
        "ranks": (
            f"{{challenger: taster, baselines: [popularity], {settings}}}",
            "{primary_metric: auc, guard_metrics: [logloss]}",
        ),
    }
    for name, (models, gate) in presets.items():
        (folder / f"{name}.yaml").write_text(PRESET.format(models=models, gate=gate))
    path = os.pathsep.join([str(HERE.parents[2]), str(site)])
    done = subprocess.run(
        [sys.executable, str(HERE.with_name("installed_day.py")), str(folder), *OVERRIDES],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "facts.json").read_text())


def test_a_family_of_another_package_is_trained_and_evaluated_by_the_programs(day):
    found = day["recommends"]
    trained = found["train_recommender"]["families"]["follower"]
    assert trained["config"] == {"popularity": 0.25}
    entrants = found["evaluate_recommender"]["entrants"]
    assert set(entrants) == {"follower", "item_knn", "popularity"}
    hit_rate = {
        label: entrant["boards"]["lists"]["slices"]["all"]["metrics"]["hr@10"]["point"]
        for label, entrant in entrants.items()
    }
    assert hit_rate["follower"] > hit_rate["popularity"] + 0.03
    assert found["promote_recommender"]["decision"] in ("promote", "promote_baseline")
    assert found["recommend"]["rows"] > 0


def test_one_that_only_ranks_is_measured_by_feedback_alone(day):
    found = day["ranks"]
    entrants = found["evaluate_recommender"]["entrants"]
    assert set(entrants["taster"]["boards"]) == {"feedback"}
    auc = entrants["taster"]["boards"]["feedback"]["slices"]["all"]["metrics"]["auc"]
    assert 0.8 < auc["low"] < auc["point"]
    lists = entrants["popularity"]["boards"]["lists"]["slices"]["all"]["metrics"]
    assert lists["hr@10"]["point"] > 0
    assert found["evaluate_recommender"]["message"].startswith("auc on ")


def test_one_that_only_ranks_is_promoted_by_feedback_and_writes_no_lists(day):
    found = day["ranks"]
    assert found["promote_recommender"]["decision"] == "promote"
    assert found["recommend"]["status"] == "unchanged"
    assert found["recommend"]["message"].startswith(
        "no lists: the champion, taster version 1, ranks alone; ask it by `sidereal serve`"
    )


def test_the_report_shows_its_feedback_and_no_lists(day):
    record = Evaluation.from_json(day["ranks"]["evaluate_recommender"])
    lists = board_section(record, LISTS)
    tables = [block for block in lists.blocks if block.kind == "table"]
    assert [row.cells[0] for row in tables[0].rows] == ["popularity"]
    feedback = board_section(record, FEEDBACK)
    tables = [block for block in feedback.blocks if block.kind == "table"]
    assert [row.cells[0] for row in tables[0].rows] == ["taster"]


def test_a_tokenizer_of_another_package_is_fitted_saved_and_loaded(day):
    tokenizer = day["tokenizer"]
    assert tokenizer["kind"] == "other_kmeans"
    assert tokenizer["loaded"] == tokenizer["codes"]
    assert len({tuple(codes) for codes in tokenizer["codes"]}) > 8


def test_presets_know_the_settings_of_installed_families(day):
    text, unknown, negative, misspelt, unranked, tokenizer, epochs, ranker = day["refusals"]
    assert "models.settings.follower: popularity: found the text 'much'" in text
    assert "populraity: is no key, expected one of popularity" in unknown
    assert "popularity: found -1, expected above 0" in negative
    assert "did you mean 'follower'?" in misspelt
    assert "found the text 'auc', and follower does not rank" in unranked
    assert "gate.primary_metric: found the text 'ndcg@10', and taster does not recommend" in ranker
    assert tokenizer == ""
    assert "training.overrides.follower.max_epochs: found 0, expected at least 1" in epochs


def registry_of(ours=()):
    def accept(name, thing):
        if not isinstance(thing, str):
            raise ValueError(f"is of type {type(thing).__name__}, expected a text")
        return thing

    return Registry("sidereal.test", dict(ours), accept)


def test_a_name_is_known_before_anything_is_imported(tmp_path, monkeypatch):
    install(tmp_path, "[sidereal.test]\nyours = nowhere:THING")
    monkeypatch.syspath_prepend(tmp_path)
    found = registry_of({"ours": "here"})
    assert list(found) == ["ours", "yours"]
    assert len(found) == 2 and "yours" in found and "theirs" not in found
    assert found["ours"] == "here"
    refused = r"'yours' of package strangers 1\.0 \(sidereal\.test: nowhere:THING\) can't be import"
    with pytest.raises(PluginError, match=refused):
        found["yours"]
    with pytest.raises(KeyError):
        found["theirs"]


def test_a_thing_of_another_type_is_refused(tmp_path, monkeypatch):
    install(tmp_path, "[sidereal.test]\npi = math:pi\ntext = string:digits")
    monkeypatch.syspath_prepend(tmp_path)
    found = registry_of()
    assert found["text"] == "0123456789"
    with pytest.raises(PluginError, match=r"'pi' of .* is of type float, expected a text; mend or"):
        found["pi"]


def test_a_name_that_is_taken_is_refused(tmp_path, monkeypatch):
    for name in ("strangers", "others"):
        install(tmp_path, "[sidereal.test]\nmine = string:digits\nours = string:digits", name=name)
    monkeypatch.syspath_prepend(tmp_path)
    found = registry_of({"ours": "here"})
    assert found["ours"] == "here"
    both = r"package others 1\.0 and package strangers 1\.0"
    with pytest.raises(PluginError, match=f"'ours' is a name of our own, and {both} offers an"):
        found.require("ours")
    with pytest.raises(PluginError, match=f"'mine' is offered by {both} in sidereal.test: unins"):
        found["mine"]


def test_presets_refuse_what_can_not_be_used(tmp_path):
    install(tmp_path, "[sidereal.models]\npopularity = math:pi\nround = math:pi")
    (tmp_path / "world.yaml").write_text("models: {challenger: round, baselines: [popularity]}")
    code = (
        "import sys; from pathlib import Path; from feature_store.preset import PresetError\n"
        "from feature_store.preset import load\n"
        "from training.config import PART\n"
        "try: load(PART, 'world', folder=Path(sys.argv[1]))\n"
        "except PresetError as error: print(error, 'torch' in sys.modules)"
    )
    path = os.pathsep.join([str(HERE.parents[2]), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "models.challenger: 'round' of package strangers 1.0" in done.stdout
    assert "is of type float, expected a training.models.interface.Family" in done.stdout
    assert "models.baselines.0: 'popularity' is a name of our own, and package" in done.stdout
    assert done.stdout.endswith("False\n")


SPECS = """
from dataclasses import make_dataclass

from training.settings.spec import FamilySpec

SPEC = FamilySpec(name="found", config_class=TasterConfig)
PLAIN = FamilySpec(name="found", config_class=int)
BARE = FamilySpec(name="found", config_class=make_dataclass("Bare", ["a", "b"]))
"""


@pytest.mark.parametrize(
    ("registries", "group", "thing", "told"),
    [
        (
            (FAMILIES, MODELS),
            "sidereal.models",
            "strangers:FOLLOWER",
            "calls itself 'follower', exp",
        ),
        (
            (FAMILIES, MODELS),
            "sidereal.models",
            "strangers:Follower",
            "is of type type, expected a",
        ),
        (
            (FAMILIES, MODELS),
            "sidereal.models",
            "strangers:PLAIN",
            "has the config <class 'int'>, expected a dataclass",
        ),
        (
            (FAMILIES, MODELS),
            "sidereal.models",
            "strangers:BARE",
            "has the config Bare, whose field a, b has no default",
        ),
        (
            (MODELS,),
            "sidereal.models",
            "strangers:SPEC",
            "has no model, expected a training.models",
        ),
        (
            (KINDS, TOKENIZERS),
            "sidereal.tokenizers",
            "math:pi",
            "is 3.14.*, expected a class of tra",
        ),
        (
            (TOKENIZERS,),
            "sidereal.tokenizers",
            "strangers:Follower",
            "is <class .*, expected a class",
        ),
        ((TOKENIZERS,), "sidereal.tokenizers", "strangers:OtherKMeans", "calls itself 'other_kmea"),
    ],
)
def test_families_and_tokenizers_are_what_they_say(
    registries, group, thing, told, tmp_path, monkeypatch
):
    install(tmp_path, f"[{group}]\nfound = {thing}")
    text = STRANGERS.read_text() + SPECS
    (tmp_path / "strangers.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "strangers", raising=False)
    for registry in registries:
        assert "found" in registry
        with pytest.raises(PluginError, match=told):
            registry["found"]
    monkeypatch.delitem(sys.modules, "strangers", raising=False)


def test_a_table_that_nobody_can_read_for_a_fit_is_refused():
    family = replace(MODELS["popularity"], reads=("user_sequences", "moods"))
    with pytest.raises(
        ProgramError, match="popularity reads moods; what a fit can be given is user"
    ):
        training_data_for(None, family, None)
