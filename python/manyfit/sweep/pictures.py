"""Pictures of a study."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from manyfit._page import Figure
from manyfit._page.svg import Chart, Scale, number
from manyfit.sweep.tally import Tally, feasible

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

__all__ = ["coordinates", "front", "history", "importance", "rungs"]

_MOST_DOTS = 2000
_MOST_LINES = 400
_MOST_AXES = 8
_BEST_SHARE = 0.1


def label(trial: FrozenTrial, names: Sequence[str], settings: dict[str, Any]) -> str:
    """What is shown of a trial under the pointer."""
    values = [f"{name} {number(value)}" for name, value in zip(names, trial.values or (), strict=False)]
    return (
        f"trial {trial.number}: {', '.join([*values, *(f'{k} = {_short(v)}' for k, v in settings.items())])}"
    )


def _short(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)[:40]


def _mark(trial: FrozenTrial, x: float, y: float, style: str, title: str, radius: float = 3.2) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="dot {style}" data-trial="{trial.number}">'
        f"<title>{escape(title)}</title></circle>"
    )


def history(
    trials: Sequence[FrozenTrial], name: str, direction: str, index: int, titles: dict[int, str]
) -> Figure:
    """Values over trials, and the best so far."""
    done = [t for t in trials if t.state.name == "COMPLETE" and t.values is not None]
    chart = Chart()
    values = [t.values[index] for t in done]
    scale = _robust(values, direction)
    across = Scale(-0.5, max((t.number for t in trials), default=0) + 0.5)
    chart.axes(across, scale, "trial", name)
    every = max(1, math.ceil(len(done) / _MOST_DOTS))
    for trial in done[::every]:
        share = min(max(scale.share(trial.values[index]), 0.0), 1.0)
        style = "" if feasible(trial) else "outside"
        chart.add(
            _mark(trial, chart.x(across.share(trial.number)), chart.y(share), style, titles[trial.number])
        )
    for state, place in (("PRUNED", 0.0), ("FAIL", 0.0)):
        for trial in [t for t in trials if t.state.name == state][:_MOST_DOTS]:
            x, y = chart.x(across.share(trial.number)), chart.y(place)
            chart.add(
                f'<path d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6" class="cross {state.lower()}" '
                f'data-trial="{trial.number}"><title>trial {trial.number}: {_ended(state)}</title></path>'
            )
    steps: list[tuple[float, float]] = []
    best: float | None = None
    sign = 1 if direction == "maximize" else -1
    for trial in done:
        if not feasible(trial):
            continue
        value = trial.values[index]
        if best is None or sign * value > sign * best:
            if best is not None:
                steps.append((trial.number, best))
            best = value
            steps.append((trial.number, value))
    if best is not None:
        steps.append((across.high, best))
        points = " ".join(
            f"{chart.x(across.share(n)):.1f},{chart.y(min(max(scale.share(v), 0), 1)):.1f}" for n, v in steps
        )
        chart.add(f'<polyline points="{points}" class="best-line"/>')
    better = "higher" if direction == "maximize" else "lower"
    alt = f"{name} of {len(done)} trials in their order, and the best so far" + (
        f", which ends at {number(best)}" if best is not None else ""
    )
    ends = {_ended(t.state.name) for t in trials if t.state.name in ("PRUNED", "FAIL")}
    crosses = f" A cross on the axis: a trial that was {' or '.join(sorted(ends))}." if ends else ""
    caption = f"Each trial, and the best so far ({better} is better).{crosses}"
    if len(values) > 1 and (min(values) < scale.low or max(values) > scale.high):
        caption += (
            f" Trials far {'below' if direction == 'maximize' else 'above'} the others stand at the edge."
        )
    return Figure(chart.svg(alt), alt, caption, wide=True)


def _ended(state: str) -> str:
    return {"PRUNED": "ended early", "FAIL": "failed"}[state]


def _robust(values: Sequence[float], direction: str) -> Scale:
    """A scale on which the good values are told apart; far worse ones stand at its end."""
    if len(values) < 8:
        return Scale.around(values)
    ordered = sorted(values, reverse=direction == "maximize")
    best, middle = ordered[0], ordered[len(ordered) // 2]
    limit = best - 4 * (best - middle)
    inside = [v for v in values if (v >= limit if direction == "maximize" else v <= limit)]
    return Scale.around(inside if middle != best else values)


def front(
    trials: Sequence[FrozenTrial], tally: Tally, names: Sequence[str], titles: dict[int, str]
) -> Figure:
    """The first two objectives against each other."""
    done = [t for t in trials if t.state.name == "COMPLETE" and t.values is not None]
    first, second = [t.values[0] for t in done], [t.values[1] for t in done]
    log = min(second) > 0 and max(second) > 30 * min(second)
    up, across = Scale.around(first), Scale.around(second, log=log)
    chart = Chart(height=340)
    chart.axes(across, up, names[1], names[0])
    best = {trial.number for trial in tally.front}

    def place(trial: FrozenTrial) -> tuple[float, float]:
        assert trial.values is not None
        return chart.x(across.share(trial.values[1])), chart.y(up.share(trial.values[0]))

    chain = sorted((t for t in done if t.number in best), key=lambda t: t.values[1])
    chart.add(
        f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, chain))}" class="best-line"/>'
    )
    every = max(1, math.ceil(len(done) / _MOST_DOTS))
    for trial in [t for i, t in enumerate(done) if t.number not in best and i % every == 0] + chain:
        style = "front" if trial.number in best else "" if feasible(trial) else "outside"
        chart.add(
            _mark(trial, *place(trial), style, titles[trial.number], 5 if trial.number in best else 3.2)
        )
    alt = f"{names[0]} against {names[1]} of {len(done)} trials; {len(best)} of them on the Pareto front"
    hollow = " Hollow: outside the constraints." if tally.infeasible else ""
    caption = f"The Pareto front: {len(best)} trials that no other beats in every objective.{hollow}"
    return Figure(chart.svg(alt), alt, caption, wide=True)


def coordinates(
    trials: Sequence[FrozenTrial],
    settings: dict[int, dict[str, Any]],
    distributions: dict[str, Any],
    name: str,
    direction: str,
    titles: dict[int, str],
    order: Sequence[str],
) -> Figure | None:
    """A line for each trial, through its parameters to its value."""
    done = [t for t in trials if t.state.name == "COMPLETE" and t.values is not None and feasible(t)]
    sign = 1 if direction == "maximize" else -1
    done.sort(key=lambda t: sign * t.values[0])
    done = done[-_MOST_LINES:]
    axes = [each for each in order if any(each in settings[t.number] for t in done)][:_MOST_AXES]
    if len(done) < 2 or not axes:
        return None
    scales = {
        each: _scale([settings[t.number].get(each) for t in done], distributions.get(each)) for each in axes
    }
    up = _robust([t.values[0] for t in done], direction)
    chart = Chart(height=340, left=76, right=70, top=40, bottom=20)
    places = [chart.x(i / len(axes)) for i in range(len(axes) + 1)]
    n_best = max(1, round(_BEST_SHARE * len(done)))
    for i, trial in enumerate(done):
        points = [
            f"{x:.1f},{chart.y(scales[each].share(settings[trial.number][each])):.1f}"
            for x, each in zip(places, axes, strict=False)
            if each in settings[trial.number]
        ]
        points.append(f"{places[-1]:.1f},{chart.y(min(max(up.share(trial.values[0]), 0), 1)):.1f}")
        style = "top" if i >= len(done) - n_best else ""
        chart.add(
            f'<polyline points="{" ".join(points)}" class="thread {style}" data-trial="{trial.number}">'
            f"<title>{escape(titles[trial.number])}</title></polyline>"
        )
    for i, (x, each) in enumerate(zip(places, [*axes, name], strict=True)):
        scale = up if i == len(axes) else scales[each]
        chart.line(x, chart.y(0), x, chart.y(1), "axis")
        last = i == len(axes)
        shown = each.rpartition("__")[2] if len(axes) > 2 else each
        most = 30 if len(axes) <= 2 else 16
        anchor, shift = ("start", -72) if i == 0 else ("end", 66) if last else ("middle", 0)
        chart.text(x + shift, 16, shown if len(shown) <= most else shown[: most - 1] + "…", anchor, "label")
        for share, tick in scale.ticks(5):
            if -0.001 <= share <= 1.001:
                side, anchor = (-6, "end") if i == 0 else (6, "start")
                chart.text(x + side, chart.y(share) + 4, tick[:14], anchor, "tick halo")
    alt = f"Lines of {len(done)} trials through {', '.join(axes)} to {name}"
    which = f"the {n_best} best" if n_best > 1 else "the best"
    caption = (
        f"A line for each trial through its parameters to its {name}; {which} in colour. "
        "Point at a line, or at a row of the table."
    )
    return Figure(chart.svg(alt), alt, caption, wide=True)


def _scale(values: Sequence[Any], distribution: Any) -> Scale:
    known = [value for value in values if value is not None]
    plain = known and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
    low, high = getattr(distribution, "low", None), getattr(distribution, "high", None)
    if low is not None and high is not None and plain:
        inside = all(low <= value <= high for value in known)
        if inside:
            return Scale(low, high, bool(distribution.log))
    if plain and len(known) == len(values) and len(set(known)) > 6:
        log = min(known) > 0 and max(known) > 100 * min(known)
        return Scale.around(known, log=log, margin=0.0)
    names = sorted(set(known)) if plain else sorted(set(map(str, values)))
    if plain and None in values:
        names = [*names, "None"]
    return Scale(categories=[str(each) for each in names])


def importance(study: optuna.Study, objective: int, name: str) -> tuple[Figure | None, list[str]]:
    """How much of the differences each parameter makes; and the parameters, the most important first."""
    from matplotlib.axes import Axes

    from manyfit._page.drawing import HALF, draw
    from manyfit._page.palette import light

    found = _importances(study, objective)
    if not found:
        return None, []
    names = list(found)[:10]

    def paint(ax: Axes) -> None:
        for row, each in enumerate(names):
            ax.barh(-row, found[each], height=0.34, color=light("ours"))
            ax.annotate(each, (0, -row + 0.33), va="center", color=light("ink"))
            ax.annotate(
                f"{found[each]:.2f}", (found[each], -row), (5, 0), textcoords="offset points",
                va="center", color=light("soft"),
            )  # fmt: skip
        ax.set_xlim(0, 1.12 * max(found.values()))
        ax.set_ylim(-len(names) + 0.4, 0.6)
        ax.set_axis_off()

    alt = "Importance of parameters: " + ", ".join(f"{each} {found[each]:.2f}" for each in names)
    caption = f"Which parameters make the differences in {name} (Optuna's fANOVA over the complete trials)."
    size = (HALF[0], max(1.2, 0.62 * len(names) + 0.3))
    return draw("importance", paint, alt=alt, caption=caption, size=size), list(found)


def _importances(study: optuna.Study, objective: int) -> dict[str, float]:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = optuna.importance.get_param_importances(
                study,
                evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0, n_trees=32),
                target=lambda trial: trial.values[objective],
            )
        except (ValueError, RuntimeError, ImportError):
            return {}  # too few trials, or parameters that only some of them have
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def rungs(trials: Sequence[FrozenTrial], name: str, direction: str) -> Figure | None:
    """Intermediate values: lines that stop where a trial was ended."""
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator

    from manyfit._page.drawing import draw
    from manyfit._page.palette import light

    watched = [t for t in trials if t.intermediate_values and t.state.name in ("COMPLETE", "PRUNED")]
    pruned = sum(t.state.name == "PRUNED" for t in watched)
    if not pruned:
        return None

    def paint(ax: Axes) -> None:
        for trial in watched[-_MOST_LINES:]:
            steps = sorted(trial.intermediate_values)
            values = [trial.intermediate_values[step] for step in steps]
            ended = trial.state.name == "PRUNED"
            colour = light("other" if ended else "ours")
            ax.plot(steps, values, color=colour, linewidth=1.0, alpha=0.5)
            if ended:
                ax.plot(steps[-1], values[-1], "x", color=colour, markersize=4)
        ends = [t.intermediate_values[max(t.intermediate_values)] for t in watched]
        scale = _robust([value for value in ends if math.isfinite(value)], direction)
        ax.set_ylim(scale.low, scale.high)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(axis="y")
        ax.set_xlabel("step")
        ax.set_ylabel(f"{name} so far")

    total = sum(len(t.intermediate_values) for t in watched)
    most = max(len(t.intermediate_values) for t in watched)
    alt = f"{name} over steps: {pruned} of {len(watched)} lines stop before the end"
    computed = f"{total} of {most * len(watched)} steps were computed"
    caption = f"{pruned} of {len(watched)} trials were ended early: {computed}."
    return draw("rungs", paint, alt=alt, caption=caption)
