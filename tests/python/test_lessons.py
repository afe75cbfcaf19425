"""What the lessons' pictures show: with a live slider, without ipywidgets, and where no script runs."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import Any

import matplotlib
import numpy as np
import pytest

from manyfit import lessons
from manyfit.lessons import play, slide, style

WIDGET = "application/vnd.jupyter.widget-view+json"


def bar(ax: Any, height: float) -> None:
    ax.bar([0], [height])


def image(data: bytes) -> np.ndarray[Any, Any]:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))


def test_player_holds_every_frame() -> None:
    picture = play(bar, [1, 2, 3], label="bar")
    bundle = picture._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/png"}
    frames = json.loads(re.search(r"const frames = (\[.*\]);", bundle["text/html"])[1])  # type: ignore[index]
    assert [base64.b64decode(frame) for frame in frames] == [picture.frame(n) for n in (1, 2, 3)]
    assert len(set(frames)) == 3
    assert 'const labels = ["bar 1", "bar 2", "bar 3"]' in bundle["text/html"]


def test_player_asks_for_nothing_from_elsewhere() -> None:
    html = play(bar, [1, 2])._repr_mimebundle_()["text/html"]
    assert not re.search(r"https?:|//[a-z]", re.sub(r"[A-Za-z0-9+/=]{200,}", "", html))
    assert not re.search(r"@[A-Z]{3,}", html)


def test_players_of_a_page_do_not_disturb_each_other() -> None:
    ids = [re.search(r'id="(\S+)"', play(bar, [1, 2])._repr_mimebundle_()["text/html"])[1] for _ in range(2)]  # type: ignore[index]
    assert ids[0] != ids[1]


def test_without_script_a_still_is_seen() -> None:
    """Pages that leave scripts out show what is not hidden: the still, which is the fall-back image too."""
    bundle = slide(bar, [1.0, 2.0, 3.0, 4.0, 5.0])._repr_mimebundle_()
    static = re.sub(r"<script>.*</script>", "", bundle["text/html"], flags=re.DOTALL)
    (still,) = re.findall(r'<img class="still"[^>]* src="data:image/webp;base64,([^"]+)"', static)
    seen = image(base64.b64decode(still))
    assert np.array_equal(seen[..., 3], image(base64.b64decode(bundle["image/png"]))[..., 3])
    one = image(slide(bar, [1.0, 2.0]).frame(1.0))
    assert seen.shape[0] == 2 * one.shape[0]  # four moments, in two rows


def test_slider_stops_at_round_numbers() -> None:
    """At the one it begins with too, so that picture and readout agree."""
    for values, start, step in (
        (np.linspace(-40.0, 200.0, 13), 0.0, 1.0),
        ([0.02, 0.1, 0.3, 0.6], 0.1, 0.002),
        (np.linspace(0.0, 1.0, 11), 0.3, 0.005),
        (np.linspace(0.0, 2e-7, 11), 0.0, 1e-9),
    ):
        live = slide(bar, list(values), start=start).live
        assert live is not None
        assert live["step"] == step
        steps = (start - live["min"]) / step
        assert abs(steps - round(steps)) < 1e-6
    factors = slide(bar, list(np.logspace(-3, 3, 13)), log=True).live
    assert factors is not None
    assert factors["step"] == 0.02


def test_slider_is_live() -> None:
    drawn: list[float] = []

    def draw(ax: Any, value: float) -> None:
        drawn.append(value)
        bar(ax, value)
        ax.set_ylim(0, 2)

    picture = slide(draw, [0.5, 1.0, 2.0], label="rate", start=1.0)
    shown, slider = picture._widget().children
    assert (slider.min, slider.max, slider.value, slider.description) == (0.5, 2.0, 1.0, "rate")
    before, drawn[:] = bytes(shown.value), []
    slider.value = 1.7  # not one of the values
    assert drawn == [pytest.approx(1.7, abs=0.01)]
    assert bytes(shown.value) == picture.frame(slider.value) != before
    bundle = picture._repr_mimebundle_()
    assert WIDGET in bundle
    assert {"text/html", "image/png"} < set(bundle)


def test_without_ipywidgets_there_is_a_player(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "find_spec", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    bundle = slide(bar, [0.5, 1.0, 2.0])._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/png"}


def test_log_and_whole_sliders() -> None:
    slider = slide(bar, [0.01, 0.1, 1.0], log=True, start=0.1)._widget().children[1]
    assert (slider.min, slider.max) == (-2.0, 0.0)
    assert slider.value == pytest.approx(0.1)
    slider = slide(bar, range(3, 9))._widget().children[1]
    assert (slider.min, slider.max, slider.value) == (3, 8, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: play(bar, []), "play: values must hold two moments or more, got []"),
        (lambda: slide(bar, [1.0]), "slide: values must hold two moments or more, got [1.0]"),
        (lambda: slide(bar, [2.0, 1.0]), "slide: values must increase, got [2.0, 1.0]"),
        (lambda: slide(bar, [0.0, 1.0], log=True), "slide: values must be > 0 when log=True, got 0.0"),
        (lambda: slide(bar, [0.0, 1.0], start=2.0), "slide: start must be from 0.0 to 1.0, got 2.0"),
    ],
)
def test_bad_values(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def luminance(colour: str) -> float:
    parts = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_colours_show_on_light_and_on_dark() -> None:
    with matplotlib.rc_context():
        style()
        settings = dict(matplotlib.rcParams)
    assert settings["figure.facecolor"] == settings["axes.facecolor"] == "none"
    used = {settings[name] for name in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")}
    used |= {each["color"] for each in settings["axes.prop_cycle"]}
    for colour in used:
        light = luminance(colour)
        assert 1.05 / (light + 0.05) > 3.5, colour  # on white
        assert (light + 0.05) / (luminance("#111111") + 0.05) > 4.0, colour  # on Jupyter's dark page


def test_jupyter_lays_no_paper_under_pictures() -> None:
    from matplotlib_inline.backend_inline import _fetch_figure_metadata

    with matplotlib.rc_context():
        style()
        figure = matplotlib.figure.Figure()
        figure.subplots().plot([1, 2])
        assert _fetch_figure_metadata(figure) is None
