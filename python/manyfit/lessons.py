"""What the lessons draw with: pictures that move, in any notebook, in light and dark.

:func:`play` and :func:`slide` take a function that draws one moment on matplotlib axes. What they show needs
no network, and is never blank: with a kernel and ipywidgets it is a live slider, without them a player of
frames drawn beforehand, and where no script runs (a page that shows notebooks, a mail) a still.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from html import escape
from importlib.util import find_spec
from typing import Any

import numpy as np

__all__ = ["Picture", "play", "slide", "style"]

Draw = Callable[[Any, Any], object]

# In the middle between white and black: at least 3.6 : 1 against either.
_INK = "#767d87"
_COLOURS = (
    *("#13877f", "#cf6a22", "#4a82cf", "#d64f5c", "#9470cf"),
    *("#3f9150", "#97755c", "#c75fae", "#8a7f1d", "#767d87"),
)

_STYLE: dict[Any, Any] = {
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": "medium",
    "figure.facecolor": "none",
    "figure.figsize": (5.6, 3.8),
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "savefig.facecolor": "none",
    "grid.color": _INK,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    # Jupyter lays white paper under a picture whose tick labels are all "dark", or all "light", and these are
    # a shade to either side of its limit: so it leaves the page as it is.
    "xtick.color": "#7d848e",
    "ytick.color": _INK,
}

_DPI = 130  # of frames, drawn larger than they are shown: sharper on fine screens
_FRAME = {"format": "webp", "pil_kwargs": {"lossless": True, "method": 2}}  # a third of the bytes of PNG
_SHOWN = 100  # CSS pixels for an inch
_STILLS = 4  # moments in the still
_STEPS = 200  # of a live slider, at least

_numbers = itertools.count()


def style() -> None:
    """Set matplotlib's colours so that pictures are readable on light and on dark pages.

    The background is left out, and every colour has contrast against white and against black.

    Examples
    --------
    >>> import matplotlib
    >>> from manyfit.lessons import style
    >>> with matplotlib.rc_context():
    ...     style()
    ...     print(matplotlib.rcParams["figure.facecolor"])
    none
    """
    import matplotlib
    from cycler import cycler

    matplotlib.rcParams.update(_STYLE)
    matplotlib.rcParams["axes.prop_cycle"] = cycler(color=_COLOURS)


class Picture:
    """What :func:`play` and :func:`slide` return. A notebook shows it when it is the last line of a cell.

    Parameters
    ----------
    draw : callable
    values : sequence
    label : str
    size : (float, float)
    live : None or dict
        How a live slider runs over the values; None for no live slider.
    still : list
        The values that the still shows.
    """

    def __init__(
        self,
        draw: Draw,
        values: Sequence[Any],
        *,
        label: str,
        size: tuple[float, float],
        live: dict[str, Any] | None,
        still: Sequence[Any],
    ) -> None:
        self.draw = draw
        self.values = list(values)
        self.label = label
        self.size = size
        self.live = live
        self.still = list(still)

    def frame(self, value: Any) -> bytes:
        """Draw one moment.

        Parameters
        ----------
        value : object
            Handed on to the function that draws.

        Returns
        -------
        bytes
            A WebP image.
        """
        return self._image([value], **_FRAME)

    def __repr__(self) -> str:
        values = f"{_text(self.values[0])} to {_text(self.values[-1])}"
        return f"Picture({len(self.values)} moments, {self.label} {values})"

    def _image(self, values: list[Any], **options: Any) -> bytes:
        from matplotlib.figure import Figure

        rows, columns = (1, len(values)) if len(values) < 3 else (-(-len(values) // 2), 2)
        figure = Figure(figsize=(self.size[0] * columns, self.size[1] * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, value in zip(panels, values, strict=False):
            self.draw(panel, value)
        for panel in panels[len(values) :]:
            panel.set_axis_off()
        file = io.BytesIO()
        figure.savefig(file, dpi=_DPI, facecolor="none", **options)
        return file.getvalue()

    def _widget(self) -> Any:
        """A slider and the picture, which is drawn anew for every value."""
        import ipywidgets

        assert self.live is not None
        live = dict(self.live)
        slider = getattr(ipywidgets, live.pop("kind"))(
            description=self.label,
            style={"description_width": "initial"},
            layout={"width": f"{self._width}px", "max_width": "100%"},
            **live,
        )
        picture = ipywidgets.Image(
            value=self.frame(slider.value),
            format="webp",
            layout={"width": f"{self._width}px", "max_width": "100%"},
        )
        slider.observe(lambda change: setattr(picture, "value", self.frame(change["new"])), "value")
        return ipywidgets.VBox([picture, slider])

    @property
    def _width(self) -> int:
        return round(self.size[0] * _SHOWN)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        still = base64.b64encode(self._image(self.still, format="png")).decode()
        bundle = {"text/plain": repr(self), "text/html": self._player(), "image/png": still}
        if self.live is not None and find_spec("ipywidgets") is not None:
            widget = self._widget()._repr_mimebundle_()
            bundle |= {kind: view for kind, view in widget.items() if kind != "text/plain"}
        return bundle

    def _player(self) -> str:
        """A page element with every frame in it. Until its script runs it is the still."""
        still = base64.b64encode(self._image(self.still, **_FRAME)).decode()
        first = 0 if self.live is None else int(np.argmin(np.abs(np.array(self.values) - self.live["value"])))
        frames = [base64.b64encode(self.frame(value)).decode() for value in self.values]
        labels = [f"{self.label} {_text(value)}" for value in self.values]
        width = self._width * (1 if len(self.still) == 1 else 2)
        return (
            _PLAYER.replace("@ID", f"manyfit-{next(_numbers)}-{abs(hash(tuple(frames))):x}")
            .replace("@ALT", escape(f"{self.label}: {', '.join(map(_text, self.still))}", quote=True))
            .replace("@WIDTH", str(self._width))
            .replace("@STILLWIDTH", str(width))
            .replace("@FIRST", str(first))
            .replace("@LAST", str(len(frames) - 1))
            .replace("@LABELS", _array(labels))
            .replace("@STILL", still)
            .replace("@FRAMES", _array(frames))
        )


def play(
    draw: Draw, values: Sequence[Any], *, label: str = "step", size: tuple[float, float] = (5.6, 3.8)
) -> Picture:
    """Show how something goes, moment by moment, with a button to play and a slider to scrub.

    Parameters
    ----------
    draw : callable
        ``draw(ax, value)`` draws the moment `value` on matplotlib axes.
    values : sequence
        The moments, in order. All are drawn beforehand, so keep them below about fifty.
    label : str, default="step"
        What the moments are.
    size : (float, float), default=(5.6, 3.8)
        Inches.

    Returns
    -------
    Picture
        The last line of a cell, to be shown.

    Examples
    --------
    >>> from manyfit.lessons import play
    >>> play(lambda ax, n: ax.plot(range(n)), range(2, 9))
    Picture(7 moments, step 2 to 8)
    """
    values = _checked("play", values)
    return Picture(draw, values, label=label, size=size, live=None, still=values[-1:])


def slide(
    draw: Draw,
    values: Sequence[float],
    *,
    label: str = "value",
    log: bool = False,
    start: float | None = None,
    size: tuple[float, float] = (5.6, 3.8),
) -> Picture:
    """Show what a number does, with a slider over it.

    In a notebook with ipywidgets the slider is live: it takes every number between the first and the last of
    `values` and draws anew. Elsewhere a player shows `values` alone, and where no script runs, a still with
    four of them.

    Parameters
    ----------
    draw : callable
        ``draw(ax, value)`` draws on matplotlib axes.
    values : sequence of float
        Increasing.
    label : str, default="value"
        What the number is.
    log : bool, default=False
        Whether the live slider goes by factors rather than by differences.
    start : float, default=None
        Where the live slider begins; None for the first value.
    size : (float, float), default=(5.6, 3.8)
        Inches.

    Returns
    -------
    Picture
        The last line of a cell, to be shown.

    Examples
    --------
    >>> from manyfit.lessons import slide
    >>> slide(lambda ax, a: ax.axhline(a), [0.1, 0.2, 0.5, 1.0], label="height")
    Picture(4 moments, height 0.1 to 1)
    """
    values = _checked("slide", values)
    if not all(low < high for low, high in itertools.pairwise(values)):
        raise ValueError(f"slide: values must increase, got {values}")
    if log and values[0] <= 0:
        raise ValueError(f"slide: values must be > 0 when log=True, got {values[0]}")
    low, high = values[0], values[-1]
    value = low if start is None else start
    if not low <= value <= high:
        raise ValueError(f"slide: start must be from {low} to {high}, got {value}")
    live: dict[str, Any]
    if log:
        live = {"kind": "FloatLogSlider", "min": np.log10(low), "max": np.log10(high)}
        live |= {"step": _round_step(live["max"] - live["min"]), "readout_format": ".3g"}
    elif all(isinstance(each, int | np.integer) for each in values):
        live = {"kind": "IntSlider", "min": int(low), "max": int(high)}
    else:
        live = {"kind": "FloatSlider", "min": low, "max": high, "step": _round_step(high - low)}
        live |= {"readout_format": ".3g"}
    places = np.unique(np.linspace(0, len(values) - 1, _STILLS).round().astype(int))
    still = [values[place] for place in places]
    return Picture(draw, values, label=label, size=size, live=live | {"value": value}, still=still)


def _checked(name: str, values: Sequence[Any]) -> list[Any]:
    values = list(values)
    if len(values) < 2:
        raise ValueError(f"{name}: values must hold two moments or more, got {values}")
    return values


def _round_step(length: float) -> float:
    """1, 2 or 5 times a power of ten, so that a slider stops at round numbers."""
    step = Decimal(repr(float(length))) / _STEPS
    size = Decimal(1).scaleb(step.adjusted())
    return float(size * max(digit for digit in (1, 2, 5) if digit * size <= step))


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)


def _array(texts: list[str]) -> str:
    """As JavaScript; "</" would end the script."""
    return json.dumps(texts).replace("</", "<\\/")


_PLAYER = """\
<div id="@ID" style="color: inherit">
<img class="still" alt="@ALT" style="max-width: 100%; width: @STILLWIDTHpx" src="data:image/webp;base64,@STILL">
<div class="moving" hidden style="max-width: @WIDTHpx">
<img alt="" style="width: 100%">
<div style="display: flex; gap: 0.6em; align-items: center; font: 13px sans-serif; color: #767d87">
<button type="button" aria-label="play" style="all: revert; width: 2.6em; cursor: pointer">&#9654;</button>
<input type="range" min="0" max="@LAST" value="0" style="flex: 1; accent-color: #13877f">
<output style="min-width: 7em"></output>
</div>
</div>
</div>
<script>
(() => {
  const box = document.getElementById("@ID"), moving = box.querySelector(".moving");
  const frames = @FRAMES;
  const labels = @LABELS;
  const image = moving.querySelector("img"), button = moving.querySelector("button");
  const slider = moving.querySelector("input"), output = moving.querySelector("output");
  // The browser draws button and slider for a dark page where the text is light.
  const text = getComputedStyle(box).color.match(/[\\d.]+/g).slice(0, 3);
  const dark = text.reduce((sum, part) => sum + +part, 0) > 384;
  moving.style.colorScheme = dark ? "dark" : "light";
  if (dark) slider.style.accentColor = "#35c2b7"; // with the darker one its track would be white
  let timer = null;
  const show = (i) => {
    slider.value = i;
    image.src = "data:image/webp;base64," + frames[i];
    image.alt = output.textContent = slider.ariaValueText = labels[i];
  };
  const stop = () => { clearInterval(timer); timer = null; button.innerHTML = "&#9654;"; button.ariaLabel = "play"; };
  const next = () => (+slider.value < frames.length - 1 ? show(+slider.value + 1) : stop());
  button.onclick = () => {
    if (timer) return stop();
    if (+slider.value === frames.length - 1) show(0);
    timer = setInterval(next, 200);
    button.innerHTML = "&#10073;&#10073;"; button.ariaLabel = "stop";
  };
  slider.oninput = () => { stop(); show(+slider.value); };
  show(@FIRST);
  box.querySelector(".still").remove();
  moving.hidden = false;
})();
</script>
"""
