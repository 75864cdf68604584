"""docs/tested.md names every method, model and config that there is."""

from config_folders import LEAVES, METHODS, MODELS_TO_ADAPT, name_of
from tested_page import ALL_STEPS, CONFIGS, PAGE, STEPS, Tested, distinct_models, rows_below

REMEDY = "Run make test-full: it writes docs/tested.md."


def test_every_method_and_model_is_in_the_table():
    header, *rows = rows_below(STEPS)
    assert header == ["method", *sorted(MODELS_TO_ADAPT)], REMEDY
    assert [row[0] for row in rows] == METHODS, REMEDY
    assert {cell for row in rows for cell in row[1:]} == {"passed"}


def test_every_config_is_in_the_table():
    _, *rows = rows_below(CONFIGS)
    assert [row[0] for row in rows] == sorted(map(name_of, LEAVES)), REMEDY


def test_page_is_written_when_all_passed_and_not_before():
    built = {name: round(1e5 * float(value)) * 10 for name, value in rows_below(CONFIGS)[1:]}
    assert Tested(ALL_STEPS, built).page() == PAGE.read_text(encoding="utf-8")
    assert Tested(set(list(ALL_STEPS)[1:]), built).page() is None
    only = distinct_models().popitem()[1]
    missing = {name: count for name, count in built.items() if name not in only}
    assert Tested(ALL_STEPS, missing).page() is None
