import json
from collections import Counter

import pytest

from mmdrsl.datasets.label_spaces import LabelTable, get_label_space
from mmdrsl.new_pair.class_file import read_classes, write_template


def written(tmp_path, text, name="classes.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_ids_and_ignored_ones(tmp_path):
    classes = read_classes(
        written(tmp_path, "ids: {0: ignored, 7: road, 3: rock, 9: road, 255: ignored}")
    )
    assert classes.classes == ("road", "rock")
    table = LabelTable.load(classes.table)
    assert table.ids == {0: "ignored", 7: "road", 3: "rock", 9: "road", 255: "ignored"}
    assert table.void == {"ignored"}
    space = get_label_space(classes.label_space)
    assert space.classes == ("road", "rock")
    # Cityscapes' color for a class that it has, another one for the rest.
    assert space.palette[0] == (128, 64, 128)
    assert len(set(space.palette)) == 2


def test_colors_of_yaml_and_json(tmp_path):
    entries = {"128,64,128": "road", "0,0,142": "car", "1,2,3": "ignored"}
    path = written(tmp_path, json.dumps({"colors": entries}), "classes.json")
    classes = read_classes(path)
    assert classes.values() == {(128, 64, 128), (0, 0, 142), (1, 2, 3)}
    assert classes.palette == ((128, 64, 128), (0, 0, 142))
    assert LabelTable.load(classes.table).colors[(0, 0, 142)] == "car"


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "a: 1", "ids: []", "ids: {0: road}", "ids: {0: road, 1: road}", "ids: {x: road, 1: car}",
        "ids: {0: road, 70000: car}", "colors: {'1,2': road, '1,2,3': car}", "ids: {0: road", "\x00",
        "ids: {0: road, 1: car}\ncolors: {'1,2,3': car}", "ids: {0: road, 1: ignored}",
        "ids: {0: road, 1: car}\nids: {0: sky, 1: car}", "ids: {[1]: road, 1: car}", "ids: {0: 2001-99-99}",
    ],
)  # fmt: skip
def test_anything_else_names_the_file(tmp_path, text):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=str(path)):
        read_classes(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ids: {0: road, 1: car, 0: sky}", "'0' comes twice"),
        ("ids: {0: road, 1: car, '0': sky}", "'0' comes twice"),
        ("ids: {10: road, 1: car, 010: sky}", "3 ids, of which 2 differ"),
        ("colors: {'1,2,3': road, '1,2,4': car, '1, 2, 3': sky}", "3 colors, of which 2 differ"),
        ("ids: {0: road, 1: no}", "names 1 False.*put quotes around it"),
        ("ids: {0: road, 1: off, 2: car}", "put quotes around it"),
        ("ids: {0: road, 1: null, 2: car}", "put quotes around it"),
        ("ids: {0: road, 1: ' ', 2: car}", "put quotes around it"),
        ("ids: {0: road, 1.5: sky, 2: car}", r"\['1.5'\], which are no integers"),
        ("ids: {0: road, -1: sky, 2: car}", "no integers"),
        ("ids: {0: road, 1: Road, 2: car}", "'road' and 'Road'"),
    ],
)
def test_what_would_be_read_otherwise_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_classes(written(tmp_path, text))


def test_names_and_ids_are_taken_as_they_are_meant(tmp_path):
    classes = read_classes(
        written(tmp_path, "ids: {'3': ' road ', 010: 'no', 4: Ignored, 5: IGNORED}")
    )
    assert classes.table["ids"] == {3: "road", 10: "no", 4: "ignored", 5: "ignored"}
    assert classes.classes == ("road", "no")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file of classes"):
        read_classes(tmp_path / "classes.yaml")


@pytest.mark.parametrize(
    "pixels", [Counter({7: 75, 0: 25}), Counter({(1, 2, 3): 75, (9, 9, 9): 25})]
)
def test_a_filled_in_template_is_a_file_of_classes(tmp_path, pixels):
    path = tmp_path / "new" / "classes.yaml"
    write_template(path, {"--source": pixels})
    text = path.read_text()
    assert "75.00 %" in text
    path.write_text(text.replace("class_0", "road").replace("class_1", "car"))
    classes = read_classes(path)
    assert classes.classes == ("road", "car")
    assert classes.values() == set(pixels)
    with pytest.raises(FileExistsError):
        write_template(path, {"--source": pixels})


def test_a_template_lists_what_single_sets_show(tmp_path):
    path = tmp_path / "classes.yaml"
    write_template(path, {"--source": Counter({7: 60, 0: 20}), "--val": Counter({0: 30, 9: 10})})
    lines = path.read_text().splitlines()
    assert lines[3:] == [
        "  7: class_0  # 75.00 % of --source",
        "  0: class_1  # 25.00 % of --source, 75.00 % of --val",
        "  9: class_2  # 25.00 % of --val",
    ]
    assert read_classes(path).values() == {7, 0, 9}
