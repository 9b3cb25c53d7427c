import pytest

from feature_store.tables import CATALOG

UNCOUNTABLE = ("quarantine", "item_cooccurrence")
INSTANTS = ("_time", "_times", "_at", "_until", "newest_source")


@pytest.mark.parametrize("contract", CATALOG.values(), ids=CATALOG)
def test_a_contract_is_complete_and_keeps_the_naming_rules(contract):
    assert CATALOG[contract.name] is contract
    assert contract.name.endswith("s") or contract.name in UNCOUNTABLE, "tables are plural nouns"
    assert contract.grain and contract.key
    for column in contract.columns:
        assert column.meaning, column.name
        assert not column.name.startswith("is_") or column.type == "boolean", column.name
        if column.scalar == "timestamp":
            assert column.name.endswith(INSTANTS), column.name
        if column.name.endswith("_ids"):
            assert column.is_list, column.name


@pytest.mark.parametrize("contract", CATALOG.values(), ids=CATALOG)
def test_a_partition_is_never_null_and_is_part_of_the_key(contract):
    if contract.partition is not None:
        assert not contract.column(contract.partition).nullable
        assert contract.partition in contract.key or contract.name == "interactions", (
            "the day of an event follows from its time"
        )
