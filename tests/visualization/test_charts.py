import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex

from mmdrsl.visualization.charts import bar_chart, dot_chart, line_chart, svg_text

COLORS = {"A": "#112233", "B": "#445566"}


def test_bars_are_as_long_as_their_values():
    series = {"A": {"road": 20.0, "sky": 80.0}, "B": {"sky": 40.0}}
    (axes,) = bar_chart(["road", "sky"], series, COLORS, label="IoU in %").axes
    first, second = (
        [(bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in container]
        for container in axes.containers
    )
    assert [width for width, _ in first] == [20.0, 80.0]
    assert [width for width, _ in second] == [40.0]
    # Both bars of a class are within its line, the first series above: the axis points down.
    assert 0.5 < first[1][1] < 1 < second[0][1] < 1.5
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert axes.get_xlim() == (0, 100)
    assert axes.get_xlabel() == "IoU in %"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["road", "sky"]


def test_curves_have_their_points_in_the_order_of_rounds():
    panels = {"mIoU in %": {"A": {3: 45.0, 0: 40.0}}, "labeled pixels in %": {"B": {1: 30.0}}}
    figure = line_chart(panels, COLORS)
    left, right = figure.axes
    assert left.lines[0].get_xydata().tolist() == [[0, 40], [3, 45]]
    assert right.lines[0].get_xydata().tolist() == [[1, 30]]
    assert [left.get_ylabel(), right.get_ylabel()] == list(panels)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A", "B"]


def test_dots_are_at_their_values_and_strokes_at_their_means():
    panels = {"one": {"A": [30.0, 36.0], "B": [32.0]}, "two": {"A": [36.0]}}
    figure = dot_chart(["A", "B"], panels, {"A": "#112233"}, label="mIoU in %", references=["A"])
    left, right = figure.axes
    through, dots, mean, other, other_mean = left.lines
    assert dots.get_xydata().tolist() == [[30, 0], [36, 0]]
    assert mean.get_xydata().tolist() == [[33, 0]]
    assert set(through.get_xdata()) == {33.0}
    assert other.get_xydata().tolist() == other_mean.get_xydata().tolist() == [[32, 1]]
    assert right.lines[1].get_xydata().tolist() == [[36, 0]]
    assert to_hex(dots.get_color()) == "#112233" != to_hex(other.get_color())
    assert left.get_xlim() == right.get_xlim()
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]
    assert figure.get_supxlabel() == "mIoU in %"


def test_equal_charts_have_equal_text_with_readable_words():
    texts = [
        svg_text(line_chart({"mIoU in %": {"A": {0: 1.0, 1: np.float64(2)}}}, COLORS))
        for _ in range(2)
    ]
    assert texts[0] == texts[1]
    assert "<dc:date>" not in texts[0]
    words = [text.text for text in ElementTree.fromstring(texts[0]).findall(".//{*}text")]
    assert "mIoU in %" in words


@pytest.mark.slow
def test_import_leaves_matplotlib_alone():
    code = "import sys, mmdrsl, mmdrsl.visualization; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
