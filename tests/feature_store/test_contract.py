import pytest

from feature_store.contract import Column, Contract


def contract(**changes) -> Contract:
    given = {
        "name": "clicks",
        "grain": "one click",
        "key": ("user",),
        "columns": (Column(name="user", type="string", meaning="who"),),
    }
    return Contract(**given | changes)


def test_a_column_knows_its_shape():
    plain, many, named = (
        Column(name="x", type=kind, meaning="m") for kind in ("int", "list<int>", "map<string,int>")
    )
    assert [column.scalar for column in (plain, many, named)] == ["int"] * 3
    assert [column.is_list for column in (plain, many, named)] == [False, True, False]
    assert [column.is_map for column in (plain, many, named)] == [False, False, True]


@pytest.mark.parametrize("name", ["UserId", "1st", "user-id", ""])
def test_a_name_that_is_not_snake_case_is_refused(name):
    with pytest.raises(ValueError, match="is not snake_case"):
        Column(name=name, type="int", meaning="m")


@pytest.mark.parametrize("kind", ["integer", "list<list<int>>", "map<int,int>", "list<text>"])
def test_an_unknown_type_is_refused(kind):
    with pytest.raises(ValueError, match=r"column 'x' has type .*; expected one of"):
        Column(name="x", type=kind, meaning="m")


@pytest.mark.parametrize("kind", ["list<string>", "map<string,string>"])
def test_a_closed_set_is_for_scalars(kind):
    with pytest.raises(ValueError, match=rf"column 'x' is {kind}; `allowed` is for scalar types"):
        Column(name="x", type=kind, meaning="m", allowed=("a",))


def test_a_backslash_in_a_closed_set_is_refused():
    with pytest.raises(ValueError, match=r"column 'x' allows .*; expected no backslash"):
        Column(name="x", type="string", meaning="m", allowed=("a\\b",))


def test_all_problems_of_a_contract_are_told_at_once():
    user = Column(name="user", type="string", meaning="who")
    with pytest.raises(ValueError) as refusal:
        contract(columns=(user, user), key=("item",), partition="day", order=("time",))
    assert str(refusal.value) == (
        "contract 'clicks': columns named twice: ['user']; "
        "key, order or partition names unknown columns: ['day', 'item', 'time']"
    )


def test_a_column_is_found_by_name():
    assert contract().column("user").meaning == "who"
    with pytest.raises(KeyError, match="table 'clicks' has no column 'item'; it has"):
        contract().column("item")
