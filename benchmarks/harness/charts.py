"""Charts of percentiles, stages and scaling: one PNG per benchmark."""

import math
from pathlib import Path
from typing import Any

STAGE_COLOURS = ("#9aa5b1", "#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2")


def new_figure(columns: int, title: str) -> tuple[Any, list[Any]]:
    """Make a figure with charts side by side, without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0 * columns, 4.2), layout="constrained")
    figure.suptitle(title)
    made: Any = figure.subplots(1, columns, squeeze=False)
    return figure, list(made[0])


def draw_percentiles(axes: Any, curves: dict[str, dict[str, float]], title: str) -> None:
    """Draw percentile tables (`p50_ms` and so on) as curves."""
    names = ("p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms")
    for label, figures in curves.items():
        axes.plot(
            [name.removesuffix("_ms").replace("_", ".") for name in names],
            [figures.get(name, math.nan) for name in names],
            "o-",
            label=label,
        )
    axes.set(title=title, ylabel="ms", yscale="log")
    _number(axes.yaxis)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def draw_stages(axes: Any, bars: dict[str, dict[str, float]], title: str) -> None:
    """Draw each stage's share of the time as stacked bars, one bar per row."""
    labels = list(bars)
    stages = list(next(iter(bars.values()))) if bars else []
    left = [0.0] * len(labels)
    for stage, colour in zip(stages, STAGE_COLOURS, strict=False):
        widths = [100 * bars[label][stage] for label in labels]
        axes.barh(labels, widths, left=left, label=stage, color=colour)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set(title=title, xlabel="% of publish to last position updated", xlim=(0, 100))
    axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.15))


def draw_lines(
    axes: Any,
    lines: dict[str, list[tuple[float, float]]],
    title: str,
    labels: tuple[str, str],
    *,
    is_log: bool,
) -> None:
    """Draw lines of points."""
    for label, points in lines.items():
        axes.plot([x for x, _ in points], [y for _, y in points], "o-", label=label, markersize=3)
    axes.set(title=title, xlabel=labels[0], ylabel=labels[1])
    if is_log:
        axes.set(xscale="log", yscale="log")
        _number(axes.xaxis)
        _number(axes.yaxis)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def draw_bars(
    axes: Any, bars: dict[str, float], title: str, label: str, *, is_log: bool = False
) -> None:
    """Draw one bar per figure, with its value beside it."""
    drawn = axes.barh(list(bars), list(bars.values()), color=STAGE_COLOURS[1])
    axes.bar_label(drawn, fmt=lambda value: _text(value), fontsize=8, padding=3)
    axes.set(title=title, xlabel=label)
    if is_log:
        axes.set(xscale="log")
        _number(axes.xaxis)
    else:
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.locator_params(axis="x", nbins=6)
    axes.margins(x=0.25)


def _text(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _number(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers, including 2 and 5 between powers of ten where
    there is room.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    least, most = axis.get_view_interval()
    axis.set_major_locator(
        LogLocator(subs=(1.0, 2.0, 5.0) if most < 100 * least else (1.0,), numticks=12)
    )
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
