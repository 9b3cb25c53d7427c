"""Everything that can be wrong with a preset, generated from its schema, and what is said of it."""

import re
from itertools import islice

import pytest
import yaml
from click.testing import CliRunner
from pydantic_core import PydanticUndefined

from feature_store.preset import PresetError, preset_name, read_preset
from feature_store.preset_problems import choices_of, dotted, members, sections_of
from feature_store.settings import REPOSITORY
from pipelines.config import Impressions
from sidereal import preset_check
from sidereal.cli import main
from sidereal.preset_check import checked, parts, problems_in
from training.config import Training

PYDANTIC = re.compile(r"[Ii]nput should|valid dictionary|instance of|Extra inputs|Field required|"
                      r"\[type=|unable to|extracted using|pydantic")  # fmt: skip
RULES = [{"strength": 1, "when": "TRUE"}]
BASES = {
    "movielens": {"layout": "movielens", "dataset": "100k", "strength": RULES},
    "kuairand": {"layout": "kuairand", "path": "k", "strength": RULES},
    "table": {
        "layout": "table",
        "path": "log",
        "columns": {"user_id": "u", "item_id": "i", "event_time": {"column": "t"}},
        "strength": RULES,
        "catalogue": {"path": "items.csv", "item_id": "i"},
    },
}


def fields(model, path=()):
    """Every field of a model and what is inside it: (path, annotation, metadata, layout)."""
    for name, field in model.model_fields.items():
        here = (*path, name)
        yield here, field, None
        sections = sections_of(field.annotation)
        for section in sections:
            layout = None
            if len(sections) > 1:
                layout = choices_of(section.model_fields["layout"].annotation)[0]
            for inner_path, inner, inner_layout in fields(section, here):
                yield inner_path, inner, layout or inner_layout


FIELDS = {
    (path, layout): field
    for part in parts()[0]
    for path, field, layout in fields(part.model)
    if path != ("name",)
}


def wrong_value(field):
    """A value that the field can't have, whatever its type."""
    kinds = {getattr(each, "__origin__", each) for each in members(field.annotation)}
    if kinds & {tuple, list} or sections_of(field.annotation):
        return 7
    return {"a": 1} if kinds == {str} else ["a", "b"]


def beyond(field):
    """A number out of each bound."""
    for bound in field.metadata:
        for name, step in (("ge", -1), ("gt", 0), ("le", 1), ("lt", 0)):
            if (value := getattr(bound, name, None)) is not None:
                yield value + step


def mistakes():
    for (path, layout), field in FIELDS.items():
        if path == ("source", "layout"):
            continue
        yield f"type of {dotted(path)}", path, wrong_value(field), layout, path
        if path[-1] != "name":
            misspelt = (*path[:-1], path[-1] + "_")
            yield f"key like {dotted(path)}", misspelt, 1, layout, misspelt
        for value in beyond(field):
            yield f"{dotted(path)} = {value}", path, value, layout, path
        choices = [each for each in choices_of(field.annotation) if isinstance(each, str)]
        if choices and path[-1] != "layout":
            yield f"choice of {dotted(path)}", path, choices[0] + "x", layout, path
        if {bool, int, float} & set(members(field.annotation)):
            yield f"text for {dotted(path)}", path, "yes", layout, path
            yield f"nothing for {dotted(path)}", path, "[]", layout, path


MISTAKES = list(mistakes())


def data_with(path, value, layout):
    data = {"name": "shop", "source": dict(BASES[layout or "table"])}
    target = data
    for key in path[:-1]:
        target[key] = dict(target[key]) if isinstance(target.get(key), dict) else {}
        target = target[key]
    target[path[-1]] = value
    return data


@pytest.fixture
def problems(tmp_path):
    def find(data, *overrides):
        path = tmp_path / "shop.yaml"
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False))
        return problems_in(read_preset(str(path), folder=tmp_path, overrides=overrides))

    return find


@pytest.mark.parametrize("layout", BASES)
def test_the_presets_that_mistakes_are_made_in_are_right(problems, layout):
    assert problems({"name": "shop", "source": BASES[layout]}) == []


def test_the_corpus_reaches_every_field():
    assert len(MISTAKES) > 600
    assert {dotted(path) for path, _ in FIELDS} >= {
        "source.catalogue.path",
        "models.settings.unigrf.weighter",
        "training.overrides.tiger.max_epochs",
        "tokenizer.settings.crq_vae.temperature",
        "alignment.settings.method",
        "schedule.days",
    }


@pytest.mark.parametrize("part", range(8))
def test_every_mistake_is_told_with_its_path_line_and_in_our_words(problems, part):
    for what, path, value, layout, expected in islice(MISTAKES, part, None, 8):
        found = problems(data_with(path, value, layout))
        told = [problem.path for problem in found]
        assert any(each == dotted(expected) or each.startswith(dotted(expected) + ".")
                   for each in told), (what, told)  # fmt: skip
        for problem in found:
            assert problem.place.startswith("line "), (what, problem)
            assert not PYDANTIC.search(str(problem)), (what, problem)
            assert str(problem).count("\n") == 0


EMBEDDED = {
    "no catalogue": ("text", None, "reads text of source.catalogue, and there is no source.cat"),
    "a catalogue of ids": ("text", {}, "and it names no text; the ids of items will be embedded"),
    "attributes do for text": ("text", {"attributes": ["kind"]}, None),
    "a title does for text": ("text", {"title": "name"}, None),
    "a title is no attribute": ("categorical", {"title": "name"}, "it names no attributes"),
}


@pytest.mark.parametrize("what", EMBEDDED)
def test_items_that_are_embedded_by_their_ids_are_warned_of(what, tmp_path):
    encoder, catalogue, warning = EMBEDDED[what]
    source = {name: value for name, value in BASES["table"].items() if name != "catalogue"}
    if catalogue is not None:
        source["catalogue"] = {"path": "items.csv", "item_id": "i", **catalogue}
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump({"source": source, "embedding": {"encoder": encoder}}))
    done = CliRunner().invoke(main, ["presets", "check", str(path), "--no-data"])
    assert done.exit_code == 0, done.output
    said = [line for line in done.output.splitlines() if line.startswith("warning: ")]
    assert [warning in line for line in said] == ([] if warning is None else [True]), done.output


def test_what_must_be_there_is_missed(problems):
    needed = [
        (path, layout) for (path, layout), field in FIELDS.items()
        if field.default is PydanticUndefined and field.default_factory is None
        and not {"strength"} & set(path[2:])
    ]  # fmt: skip
    assert (("source", "columns", "event_time", "column"), "table") in needed
    for path, layout in needed:
        data = data_with(path, 1, layout)
        target = data
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]
        found = problems(data)
        assert any(p.path == dotted(path) and "is missing" in p.found for p in found), path


SAID = {
    "training.overrides.tiger.max_epoch=5": "is no key; did you mean 'max_epochs'?",
    "models.settings.tigre={width: 3}": "models.settings.tigre: is no key; did you mean 'tiger'?",
    "models.settings.tiger.dropout=2": "found 2, expected below 1",
    "models.settings.flat_slate.num_heads=3": "a width of 64 is no multiple of twice num_heads (6)",
    "models.settings.sasrec.num_heads=3": "3 heads can't share a width of 64",
    "models.settings.unigrf.hidden_width=3": "2 heads can't share a width of 3",
    "models.settings.unigrf.hard_negatives=500": "hard_negatives is 500, expected 0 to num_negat",
    "models.challenger=tigr": "found the text 'tigr'; did you mean 'tiger'?",
    "models.challenger=null": "found nothing, expected one of higr, flat_slate, tiger",
    "models.baselines=[sasrec, knn]": "models.baselines.1: found the text 'knn'",
    "models.baselines=[popularity, popularity]": "'popularity' is there twice",
    "gate.floor=higr": "which is not evaluated, expected one of tiger, sasrec",
    "gate.primary_metric=ndcg@11": "and 11 is not among evaluation.cutoffs; did you mean 'ndcg@10'",
    "gate.primary_metric=slate_ndcg@7": "and 7 is not among evaluation.slate_cutoffs",
    "gate.primary_metric=auc": "and tiger does not rank",
    "gate.guard_metrics=[hr@10, mmr]": "gate.guard_metrics.1: found the text 'mmr'; did you mean",
    "evaluation.cutoffs=[5]": "gate.primary_metric: found the text 'ndcg@10', and 10 is not among",
    "evaluation.cutoffs=[]": "found an empty list, expected a list of at least 1",
    "tokenizer.kind=rqvae": "found the text 'rqvae', expected one of rq_kmeans, rq_vae",
    "tokenizer.settings.rq_vae.epoch=3": "tokenizer.settings.rq_vae.epoch: is no key; did you mean",
    "tokenizer.settings.crq_vae.batch_size=1": "expected at least 2: the negatives of an item",
    "training.overrides.tiger.max_history=true": "found true, expected a whole number",
    "training.validation_metric=aux": "expected one of ndcg@10, auc, gauc, logloss, loss; did",
    "training.max_epochs=5.5": "found 5.5, expected a whole number",
    "training.max_epochs='5'": "found the text '5' (in quotes, or it would be a number)",
    "training.learning_rate=.nan": "found nan, expected a finite number",
    "training.protocol=rolling": "is no key here, but of evaluation",
    "alignment.settings.methd=dpo": "is no key; did you mean 'method'?",
    "name=My Shop": "expected 1 to 63 lower-case letters",
    "description=5": "found 5 (put it in quotes), expected text",
    "validation.earliest_event=1990": "found 1990, expected a day such as 2024-03-01",
    "validation.earliest_event=2024-02-30": "found the text '2024-02-30', expected a day",
    "source.columns.event_time.origin=July": "found the text 'July', expected a day such as",
    "schedule.days=[1998-04-20, April]": "schedule.days.1: found the text 'April', expected a day",
    "schedule.day=1998-04-20": "is no key, expected one of days; did you mean 'days'?",
    "source.columns.event_time=ts": "found the text 'ts', expected a mapping such as {column: ts}",
    "source.columns=[a, b]": "found a list of 2, expected a mapping of user_id, item_id, ev",
    "source.layout=tabel": "expected one of movielens, kuairand, table; did you mean 'table'?",
    "source={path: x}": "source.layout: is missing, expected one of movielens, kuairand, table",
    "source=x.csv": "source: found the text 'x.csv', expected a mapping",
    "source.dataset=100k": "source.dataset: is no key, expected one of layout, path",
    "sorce.path=x": "sorce: is no section; did you mean 'source'?",
    "preferences.negative_strength=2": "preferences: negative_strength 2 is not below",
    "source.strength=[{strength: 9, when: a}]": "source.strength.0.strength: found 9, expected at",
    "source.strength=[{strenght: 1, when: a}]": "source.strength.0.strenght: is no key, expected",
    "source.strength=[{strength: 1, when: true}]": "found true (put it in quotes), expected text",
    "source.strength=[]": "found an empty list, so that no row has a strength",
    "source.strength=[{strength: 1, when: a = 'x}]": "source.strength.0.when: a quote that is not",
    "validation.rules=[{name: a, table: itms, condition: x}]": "rules.0.table: found the text 'itm",
    "validation.rules=[{name: a, table: items, condition: titel > ''}]": "has no column 'titel'",
    "validation.rules=[{name: a, table: items}]": "validation.rules.0.condition: is missing",
    "validation.rules=[{name: A b, table: items, condition: 'TRUE'}]": "found the text 'A b'",
    "tokenizer.num_levels=9": "found 9, expected at most 8",
}


@pytest.mark.parametrize("override", SAID)
def test_what_is_said(problems, override):
    found = [
        str(problem) for problem in problems({"name": "s", "source": BASES["table"]}, override)
    ]
    assert any(SAID[override] in said for said in found), found
    assert all(said.startswith(f"--set {override}: ") for said in found) or "cutoffs" in override


def test_stopping_by_what_a_family_does_not_learn_is_refused(problems):
    base = {"name": "s", "source": BASES["table"]}
    higr = problems(base, "models.challenger=higr", "training.overrides.higr.validation_metric=auc")
    assert "is 'auc', which higr does not learn, expected one of loss, ndcg@10" in str(higr[0])
    ranking = ["models.challenger=unigrf", "models.settings.unigrf.tasks=ranking"]
    lists, *_, stopping = map(str, problems(base, *ranking))
    assert "found the text 'ndcg@10', and unigrf does not recommend, expected one of auc" in lists
    assert "is 'ndcg@10', which unigrf does not learn, expected one of auc, gauc, l" in stopping
    semantic = ["models.challenger=unigrf", "gate.primary_metric=sid_hr@10"]
    assert "and unigrf has no semantic IDs, expected 'hr@10'" in str(problems(base, *semantic)[0])
    ranks = ["models.challenger=unigrf", "gate.primary_metric=auc"]
    assert problems(base, *ranks) == []


def test_everything_wrong_is_told_at_once_in_the_order_of_the_file(tmp_path):
    text = (
        "name: shop\nsource:\n  layout: table\n  path: log\n  colums: {}\n"
        "training:\n  max_epochs: many\ngate:\n  primary_metric: ndcg@7\n"
    )
    (tmp_path / "shop.yaml").write_text(text)
    with pytest.raises(PresetError, match="has 6 problems") as caught:
        checked("shop", folder=tmp_path, model="tigr")
    assert [(each.place, each.path) for each in caught.value.problems] == [
        ("--model tigr", "models.challenger"),
        ("line 2", "source.columns"),
        ("line 2", "source.strength"),
        ("line 5", "source.colums"),
        ("line 7", "training.max_epochs"),
        ("line 9", "gate.primary_metric"),
    ]


def test_an_override_without_a_value_hides_nothing(tmp_path):
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump({"source": {}, "trainig": {}}))
    with pytest.raises(PresetError, match="has 4 problems") as caught:
        checked("shop", folder=tmp_path, overrides=["gate.floor", "training.max_epochs=many"])
    assert [each.place for each in caught.value.problems] == [
        "--set gate.floor",
        "--set training.max_epochs=many",
        "line 1",
        "line 2",
    ]
    with pytest.raises(PresetError, match=r"is not of the form section\.key=value"):
        preset_name("shop", folder=tmp_path, overrides=["name"])


YAML = {
    "a: 1\n\tb: 2\n": "line 2: a tab; YAML is indented by blanks",
    "source:\n\t- b\n": "line 2: a tab",
    "name: a\nname: b\n": "line 2: 'name' is there twice, first in line 1",
    "source: {path: a, path: b}\n": "line 1: 'path' is there twice",
    "- a\n- b\n": "holds a list of 2, expected a mapping of sections",
    "": "is empty, expected a mapping of sections",
    "# only a comment\n": "is empty, expected a mapping",
    "just text\n": "holds the text 'just text', expected a mapping",
    "name: a\n---\nname: b\n": "a second document",
    "name: a: b\n": "line 1: a colon where none can be",
    "name: [a\n": "line 2: no YAML: while parsing a flow sequence",
    "name: @shop\n": "line 1: no YAML: while scanning for the next token",
    "name: !!python/object:os.system x\n": "line 1: the tag .* asks for an object",
    "1: x\n": "line 1: the key '1' is no text; put it in quotes",
    "name: *nope\n": "line 1: no YAML: found undefined alias 'nope'",
    "name: &x [*x]\n": "an alias names what it stands in",
    "name: {<<: 3}\n": "'<<' merges mappings, and this is none",
}


@pytest.mark.parametrize("text", YAML)
def test_what_yaml_makes_wrong_is_one_line_with_its_number(problems, text):
    with pytest.raises(PresetError, match=YAML[text]):
        problems(text)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "shop.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(PresetError, match=r"is not UTF-8 text \(byte 9\)"):
        read_preset("shop", folder=tmp_path)
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(PresetError, match="no preset at"):
        read_preset("folder", folder=tmp_path)


def test_words_that_yaml_1_1_takes_for_booleans_and_dates_are_text(problems):
    source = BASES["table"] | {
        "columns": {"user_id": "no", "item_id": "on", "event_time": {"column": "y"}}
    }
    text = yaml.safe_dump({"name": "s", "source": source}).replace("'", "")
    text = text.replace("TRUE", "1 = 1")
    assert "user_id: no\n" in text
    assert problems(text) == []
    assert problems(text, "source.columns.event_time.origin=2014-07-23") == []
    assert problems(text, "training.learning_rate=1e-3") == []


def test_no_slate_decides_where_last_events_are_left_out(problems):
    data = {"name": "shop", "source": BASES["table"], "gate": {"primary_metric": "slate_ndcg@5"}}
    assert problems(data) == []
    [problem] = problems(data | {"evaluation": {"protocol": "leave_last_out"}})
    assert problem.path == "gate.primary_metric"
    assert "no slate is held out whole under evaluation.protocol: leave_last_out" in problem.found


RANKS = {
    "models": {"challenger": "groupce", "baselines": ["rates"]},
    "gate": {"primary_metric": "gauc", "guard_metrics": ["logloss", "ece"], "floor": "rates"},
    "training": {"validation_metric": "gauc", "max_history": 200},
    "impressions": {"fields": ["user_id", "item_id", "hour"]},
}


def test_who_learns_impressions_reads_every_event(problems):
    data = {"name": "shop", "source": BASES["table"], **RANKS}
    assert problems(data) == []
    [problem] = problems(data | {"training": {**RANKS["training"], "minimum_strength": 1}})
    assert problem.path == "training.overrides.groupce.minimum_strength"
    assert problem.found == "is 1, and groupce counts all events of a history"


def test_who_learns_impressions_names_their_fields(problems):
    data = {"name": "shop", "source": BASES["table"], **RANKS}
    for fields in ({}, {"impressions": {"fields": []}}):
        without = {name: value for name, value in data.items() if name != "impressions"}
        [problem] = problems(without | fields)
        assert problem.path == "impressions.fields"
        assert problem.found == "names none, and groupce learns impressions"


def test_who_learns_impressions_is_asked_with_as_many_events_as_they_count(problems):
    data = {"name": "shop", "source": BASES["table"], **RANKS}
    short = {"training": {"validation_metric": "gauc"}}
    [problem] = problems(data | short)
    assert problem.path == "training.overrides.groupce.max_history"
    assert problem.found.startswith("is 50, and impressions count the last 200 events")
    fewer = {"impressions": {**RANKS["impressions"], "history_events": 50}}
    assert problems(data | short | fewer) == []
    assert Impressions().history_events == preset_check._HISTORY_EVENTS
    assert Training().max_history == preset_check._MAX_HISTORY


def test_a_random_split_is_for_those_who_answer_feedback_alone(problems):
    data = {"name": "shop", "source": BASES["table"], "evaluation": {"protocol": "random"}}
    assert problems(data | RANKS) == []
    found = problems(data)
    assert {problem.path for problem in found} == {"evaluation.protocol"}
    assert found[0].found == "found 'random', and tiger answers lists"


@pytest.mark.parametrize("path", ["events/{date}", "events/{DAY}.csv", "e/{year}/{day}"])
def test_a_path_says_the_day_in_one_way(problems, path):
    data = {"name": "shop", "source": BASES["table"] | {"path": path}}
    [problem] = problems(data)
    assert problem.path == "source.path"
    assert "expected {day}, which stands for a day such as 2024-03-01" in str(problem)


def test_a_log_without_days_holds_out_no_days(problems):
    text = yaml.safe_dump({"name": "shop", "source": BASES["table"]})
    order = ("source.columns.event_time.unit=order", "evaluation.protocol=leave_last_out")
    [problem] = problems(text, order[0])
    assert problem.path == "evaluation.protocol"
    assert "'rolling' holds out whole days, and a log whose event_time" in str(problem)
    assert "expected leave_last_out" in str(problem)
    assert problems(text, *order) == []


def test_the_readmes_preset_is_right(problems):
    blocks = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    shop = [block for block in blocks if "layout: table" in block]
    assert shop and all(problems(block) == [] for block in shop)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "presets").glob("*.yaml")), ids=str)
def test_presets_that_we_ship_are_right(path):
    assert checked(str(path), folder=path.parent).sections["name"] == path.stem


ENTRIES = {
    "run": ["run", "--days", "1998-04-20"],
    "step": ["step", "build_items", "--day", "1998-04-20"],
    "models": ["models", "list"],
    "reproduce": ["reproduce", "baselines"],
    "presets check": ["presets", "check"],
    "presets show": ["presets", "show"],
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_command_checks_the_whole_preset_before_anything_starts(entry, tmp_path, monkeypatch):
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path / "home"))
    wrong = {"name": "shop", "source": BASES["kuairand"] | {"pth": "x"}, "models": {"seed": 3}}
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(wrong))
    named = [] if entry.startswith("presets") else ["--preset"]
    done = CliRunner().invoke(main, [*ENTRIES[entry], *named, str(path)])
    assert done.exit_code == 2, done.output
    assert "source.pth: is no key" in done.output
    assert "models.seed: is no key here, but of tokenizer" in done.output
    assert not (tmp_path / "home").exists()
