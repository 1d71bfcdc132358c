from fer_core.labels import AFFECTNET_CODES, EXPRESSION_INDEX, EXPRESSIONS, FOLDER_NAMES, RAFDB_CODES


def test_order_is_ferplus_order() -> None:
    assert ",".join(EXPRESSIONS) == "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt"
    assert [EXPRESSION_INDEX[name] for name in EXPRESSIONS] == list(range(8))


def test_rafdb_has_all_but_contempt() -> None:
    assert sorted(RAFDB_CODES) == list(range(1, 8))
    assert set(RAFDB_CODES.values()) == set(EXPRESSIONS) - {"contempt"}


def test_affectnet_has_all_eight() -> None:
    assert sorted(AFFECTNET_CODES) == list(range(8))
    assert set(AFFECTNET_CODES.values()) == set(EXPRESSIONS)


def test_folder_names_are_lower_case_and_reach_every_expression() -> None:
    assert set(FOLDER_NAMES.values()) == set(EXPRESSIONS)
    assert all(name == name.lower() for name in FOLDER_NAMES)
    assert FOLDER_NAMES["happy"] == "happiness"
