"""Pictures, charts and the report of a comparison of methods."""

from mmdrsl.visualization.charts import bar_chart, dot_chart, line_chart, step_chart, svg_text
from mmdrsl.visualization.colors import (
    color_confidence,
    color_labels,
    color_modes,
    method_colors,
    mode_shades,
)
from mmdrsl.visualization.gallery import FinishedRun, collect_report
from mmdrsl.visualization.mode_maps import load_model, predict_classes, predict_modes
from mmdrsl.visualization.report import (
    ModePair,
    PseudoLabelSeries,
    Report,
    ValidationImage,
    render_report,
)
from mmdrsl.visualization.run_records import (
    coverage_per_round,
    evaluations,
    latest_step,
    metrics_per_round,
    summarize_metrics,
)
from mmdrsl.visualization.run_report import render_run_report
from mmdrsl.visualization.summary import format_table, order_sentence, table_rows

__all__ = [
    "FinishedRun",
    "ModePair",
    "PseudoLabelSeries",
    "Report",
    "ValidationImage",
    "bar_chart",
    "collect_report",
    "color_confidence",
    "color_labels",
    "color_modes",
    "coverage_per_round",
    "dot_chart",
    "evaluations",
    "format_table",
    "latest_step",
    "line_chart",
    "load_model",
    "method_colors",
    "metrics_per_round",
    "mode_shades",
    "order_sentence",
    "predict_classes",
    "predict_modes",
    "render_report",
    "render_run_report",
    "step_chart",
    "summarize_metrics",
    "svg_text",
    "table_rows",
]
