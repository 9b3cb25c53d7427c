from pathlib import Path

import pytest

from feature_store.preset import PresetError, preset_name, read_preset
from feature_store.settings import REPOSITORY


def sections_of(name, **options):
    return read_preset(name, **options).sections


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.yaml").write_text("description: mine\nsource: {kind: table, files: [a]}\n")
    return tmp_path


def test_a_preset_is_found_by_name_or_path(folder):
    by_name = sections_of("mine", folder=folder)
    assert by_name == sections_of(str(folder / "mine.yaml"), folder=folder)
    assert by_name["name"] == "mine"


def test_overrides_reach_any_depth_and_are_read_as_yaml(folder):
    sections = sections_of(
        "mine",
        folder=folder,
        overrides=["source.kind=movielens", "training.epochs=3", "gate.floor.share=0.5"],
    )
    assert sections["source"] == {"kind": "movielens", "files": ["a"]}
    assert sections["training"] == {"epochs": 3}
    assert sections["gate"] == {"floor": {"share": 0.5}}


def test_a_preset_that_is_not_there_is_told_with_those_that_are(folder):
    with pytest.raises(PresetError, match=r"no preset at .*yours.yaml; presets in .*: mine\. Give"):
        sections_of("yours", folder=folder)


@pytest.mark.parametrize("override", ["source.kind", "=3", "source..kind=3"])
def test_a_malformed_override_is_refused(folder, override):
    with pytest.raises(PresetError, match=r"is not of the form section\.key=value"):
        preset_name("mine", folder=folder, overrides=[override])


def test_a_file_that_is_no_preset_is_refused(folder):
    (folder / "list.yaml").write_text("- a\n- b\n")
    with pytest.raises(PresetError, match=r"holds a list of 2, expected a mapping of sections"):
        sections_of("list", folder=folder)
    (folder / "broken.yaml").write_text("a: [b\n")
    with pytest.raises(PresetError, match=r"broken.yaml has a problem:\n  line 2: no YAML"):
        sections_of("broken", folder=folder)


def test_a_value_that_is_no_yaml_is_refused_with_its_override(folder):
    with pytest.raises(PresetError, match=r"--set source=\[a: no YAML"):
        preset_name("mine", folder=folder, overrides=["source=[a"])


def test_a_file_that_can_not_be_read_is_told(folder, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(PresetError, match=r"mine.yaml can't be read: Permission denied"):
        sections_of("mine", folder=folder)


def test_a_preset_given_by_path_goes_by_its_name_else_by_its_file(folder):
    named = folder / "any where.yaml"
    named.write_text("name: shop\n")
    assert preset_name(str(named), folder=folder) == "shop"
    assert preset_name(str(folder / "mine.yaml"), folder=folder) == "mine"
    assert preset_name("mine", folder=folder, overrides=["name=yours"]) == "yours"


@pytest.mark.parametrize("name", ["2024", "Shop", "a b", "_a", "a.b", "s" * 64, "null", "''"])
def test_a_name_that_tables_and_folders_can_not_have_is_refused(folder, name):
    (folder / "other.yaml").write_text(f"name: {name}\n")
    with pytest.raises(PresetError, match=r"line 1: name: .* can't name tables and folders, expec"):
        preset_name("other", folder=folder)


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "presets").glob("*.yaml")), ids=lambda p: p.stem
)
def test_presets_that_we_ship_are_read(path):
    assert sections_of(path.stem, folder=path.parent)["name"] == path.stem
