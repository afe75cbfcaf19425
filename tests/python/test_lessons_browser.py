"""The lessons' pictures in a browser, where there is one: sliders move them, and they play."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from manyfit.lessons import play, slide

# Does what a reader does, and notes what is seen.
READER = """
<script>
const seen = [];
const until = async (holds) => { while (!holds()) await new Promise((go) => setTimeout(go, 20)); };
const read = async () => {
  for (const box of document.querySelectorAll('div[id^="manyfit-"]')) {
    const image = box.querySelector(".moving img"), slider = box.querySelector("input");
    const button = box.querySelector("button");
    const note = async (what) => {
      await until(() => image.complete && image.naturalWidth);
      const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      pen.drawImage(image, 0, 0);
      const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
      let hash = 0, ink = 0;
      for (let i = 0; i < data.length; ++i) hash = (hash * 31 + data[i]) | 0;
      for (let i = 3; i < data.length; i += 4) ink += data[i] > 0;
      seen.push({box: box.id, what, label: box.querySelector("output").textContent, hash, ink,
        width: image.getBoundingClientRect().width, shown: button.checkVisibility(),
        still: !!box.querySelector(".still"), scheme: getComputedStyle(slider).colorScheme});
    };
    await note("at first");
    slider.value = 2;
    slider.dispatchEvent(new Event("input"));
    await note("moved to the third");
    button.click();
    await until(() => +slider.value > 2);
    await note("playing");
    button.click();
    await note("stopped");
    button.click();
    await until(() => button.ariaLabel === "play");
    await note("played to the end");
    button.click();
    await until(() => +slider.value < 2);
    await note("from the start again");
    button.click();
  }
};
read().catch((error) => seen.push(String(error))).finally(() => {
  document.body.innerHTML = "<pre id=seen></pre>";
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    """A browser that starts; on some systems the name alone is there."""
    for path in filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        if subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip("needs Chromium or Chrome")


def bar(ax: Any, height: float) -> None:
    ax.bar([0], [height])
    ax.set(ylim=(0, 5), title=f"height {height:.1f}")


def look(browser: str, folder: Path, colours: str) -> list[dict[str, Any]]:
    """What a reader sees of a slider over four heights that starts at the second, and of an animation."""
    pictures = slide(bar, [1.0, 2.0, 3.0, 4.0], label="height", start=2.0), play(bar, [1, 2, 3, 4])
    page = folder / "page.html"
    players = "".join(picture._repr_mimebundle_()["text/html"] for picture in pictures)
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><body style="{colours}">{players}{READER}', encoding="utf-8"
    )
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=60000", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=False)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    notes: list[dict[str, Any]] = json.loads(unescape(found[1]))
    return notes


@pytest.mark.parametrize(
    ("colours", "scheme"),
    [("background: #fff; color: #000", "light"), ("background: #111; color: #eee", "dark")],
    ids=["light", "dark"],
)
def test_a_reader_moves_and_plays_pictures(browser: str, tmp_path: Path, colours: str, scheme: str) -> None:
    notes = look(browser, tmp_path, colours)
    assert len({note["box"] for note in notes}) == 2
    for box in {note["box"]: None for note in notes}:
        mine = {note["what"]: note for note in notes if note["box"] == box}
        assert len(mine) == 6
        for note in mine.values():
            assert note["ink"] > 1000
            assert note["width"] > 400
            assert note["shown"]
            assert not note["still"]
            assert note["scheme"] == scheme
        hashes = [mine[what]["hash"] for what in ("at first", "moved to the third", "played to the end")]
        assert len(set(hashes)) == 3
        assert mine["stopped"]["hash"] == mine["playing"]["hash"]
    labels = [note["label"] for note in notes if note["what"] in ("at first", "moved to the third")]
    assert labels == ["height 2", "height 3", "step 1", "step 3"]
    assert [note["label"] for note in notes if note["what"] == "played to the end"] == ["height 4", "step 4"]
