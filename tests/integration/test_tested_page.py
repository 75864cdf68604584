"""docs/tested.md names every method, model and config that there is."""

from config_folders import LEAVES, METHODS, MODELS_TO_ADAPT, name_of
from tested_page import (
    ALL_STEPS,
    CONFIGS,
    NOT_RUN,
    PAGE,
    STEPS,
    Tested,
    distinct_models,
    passed_on,
    render,
    rows_below,
)

REMEDY = (
    "Run python tests/integration/tested_page.py, or make test-full, which writes docs/tested.md."
)


def test_every_method_and_model_is_in_the_table():
    header, *rows = rows_below(STEPS)
    assert header == ["method", *sorted(MODELS_TO_ADAPT)], REMEDY
    assert [row[0] for row in rows] == METHODS, REMEDY
    assert {cell for row in rows for cell in row[1:]} <= {"passed", NOT_RUN}


def test_every_config_is_in_the_table():
    _, *rows = rows_below(CONFIGS)
    assert [row[0] for row in rows] == sorted(map(name_of, LEAVES)), REMEDY


def test_page_says_what_was_not_run():
    steps, parameters = passed_on()
    assert render(steps, parameters) == PAGE.read_text(encoding="utf-8")
    step = sorted(steps)[0]
    text = render(steps - {step}, {})
    assert text.count(NOT_RUN) > render(steps, parameters).count(NOT_RUN)


def test_page_is_written_when_all_passed_and_not_before(tmp_path):
    built = {name: 10_000_000 for names in distinct_models().values() for name in names[:1]}
    (tmp_path / "tested.md").write_text(Tested(ALL_STEPS, built).page())
    steps, parameters = passed_on(tmp_path / "tested.md")
    assert steps == ALL_STEPS
    assert parameters == dict.fromkeys(map(name_of, LEAVES), "10.0")
    assert Tested(set(list(ALL_STEPS)[1:]), built).page() is None
    assert Tested(ALL_STEPS, dict(list(built.items())[1:])).page() is None
