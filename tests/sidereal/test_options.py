"""Options of one name mean the same in every command."""

import click
import pytest
from click.testing import CliRunner

from feature_store import options
from sidereal.cli import main


def commands(command=main, words=()):
    """Every command that does something, by its words."""
    if not isinstance(command, click.Group):
        return {" ".join(words): command}
    context = click.Context(command)
    found = {}
    for name in command.list_commands(context):
        found |= commands(command.get_command(context, name), (*words, name))
    return found


COMMANDS = commands()


def having(flag):
    """The option of that flag by the command that has it."""
    return {
        words: option
        for words, command in COMMANDS.items()
        for option in command.params
        if flag in option.opts
    }


@pytest.mark.parametrize("flag", ["--preset", "--set", "--json"])
def test_an_option_is_the_same_in_every_command(flag):
    found = {words: option.to_info_dict() for words, option in having(flag).items()}
    assert len(found) > 4
    first = next(iter(found.values()))
    assert {words: told for words, told in found.items() if told != first} == {}


def test_every_command_that_works_on_a_preset_has_the_same_one_without_saying_so():
    assert {"run", "step", "report", "tables list", "models list", "export recommendations"} <= set(
        having("--preset")
    )
    assert not any(option.required for option in having("--preset").values())


def test_a_day_is_written_the_same_everywhere_and_said_where_it_is_made():
    days = having("--day")
    assert {words for words, option in days.items() if option.type is not options.DAY} == {"run"}
    assert {words for words, option in days.items() if option.required} == {"step"}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The preset that a command with nothing but these words is about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(options.VARIABLE, raising=False)

    def run(**variables):
        return CliRunner().invoke(main, ["report"], env=variables).output

    return run


def test_the_variable_says_which_preset_it_is_without_the_option(asked):
    assert f"runs/{options.DEFAULT_PRESET};" in asked()
    assert "runs/kuairand;" in asked(SIDEREAL_PRESET="kuairand")


def test_the_dags_begin_with_the_same_preset(monkeypatch):
    from dags.common.defaults import preset

    monkeypatch.delenv(options.VARIABLE, raising=False)
    assert preset() == options.DEFAULT_PRESET


@pytest.mark.parametrize("text", ["20.4.1998", "soon", "1998-04-31"])
@pytest.mark.parametrize("words", ["step build_items", "report", "run", "export recommendations"])
def test_what_is_no_day_is_told_how_one_is_written(words, text, asked):
    target = ["--to", "out.csv"] if words.startswith("export") else []
    result = CliRunner().invoke(main, [*words.split(), "--day", text, *target])
    assert result.exit_code == 2
    assert f"{text!r} is no day; write it as in 1998-04-15" in result.output
