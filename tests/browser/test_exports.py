"""What the view saves: each file is opened again and holds what was seen."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser

from axon_widget.labels.text import without_apostrophe
from axon_widget.trace import Trace
from tests.browser.conftest import Watch
from tests.browser.lab import Notebook, View
from tests.browser.test_saved_run import SMALL, beyond, shown

PROMPT = "The </script><b>dog</b></title><!-- / \\ was"
NAME = "axon-stories15M-The-script-b-dog-b-title-was"


# What is drawn as a picture is written as SVG before.
KEEP = """() => {
    const write = XMLSerializer.prototype.serializeToString;
    XMLSerializer.prototype.serializeToString = function (node) { return window.drawn = write.call(this, node); };
}"""
HIDE = """() => {
    Object.defineProperty(document, "hidden", {get: () => true, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
    delete document.hidden;
}"""
WRITTEN = "[document.title, ...[...document.scripts].map(script => script.textContent)]"
DRAWN = "new DOMParser().parseFromString(window.drawn, 'image/svg+xml')"


def record(view: View) -> None:
    view.part("save-video").click()
    view.until("root.querySelector('[data-axon=save-said]').textContent.startsWith('Recording')")


def save(view: View, kind: str, folder: Path) -> Path:
    """Save by the menu, which is open or not; give the file."""
    if view.part("save-menu").is_hidden():
        view.part("save").click()
    with view.page.expect_download() as download:
        view.part(f"save-{kind}").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    view.until("root.querySelector('[data-axon=save-said]').textContent === argument", f"Saved as {path.name}")
    return path


def picture(view: View, path: Path) -> dict[str, Any]:
    """Give a picture's size, its number of colours and whether it has any in its middle and at its foot."""
    return view.page.evaluate(
        """async data => {
            const image = new Image();
            image.src = "data:image/png;base64," + data;
            await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height);
            const context = canvas.getContext("2d", {willReadFrequently: true});
            context.drawImage(image, 0, 0);
            const colours = (top, bottom) => {
                const from = Math.floor(image.height * top), size = Math.floor(image.height * (bottom - top));
                return new Set(new Uint32Array(context.getImageData(0, from, image.width, size).data.buffer)).size;
            };
            const {width, height} = image;
            return {size: [width, height], colours: colours(0, 1), middle: colours(0.3, 0.6), foot: colours(0.85, 1)};
        }""",
        base64.b64encode(path.read_bytes()).decode(),
    )


def film(view: View, path: Path) -> dict[str, Any]:
    """Play a video to its end as any page would; say what it showed."""
    return view.page.evaluate(
        """async data => {
            const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
            const video = document.createElement("video");
            video.muted = true;
            video.src = URL.createObjectURL(new Blob([bytes], {type: "video/webm"}));
            const heard = name => new Promise((done, fail) => {
                video.addEventListener(name, done, {once: true});
                video.addEventListener("error", () => fail(new Error(video.error.message)), {once: true});
            });
            await heard("loadeddata");
            const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
            const context = canvas.getContext("2d", {willReadFrequently: true});
            const colours = () => {
                context.drawImage(video, 0, 0);
                const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
                return new Set(new Uint32Array(data.buffer)).size;
            };
            const {duration} = video;
            video.currentTime = duration - 0.05;
            await heard("seeked");
            // On a busy machine the picture comes a little after word of it.
            for (let wait = 0; wait < 100 && colours() === 1; wait++) await new Promise(done => setTimeout(done, 50));
            return {duration, size: [canvas.width, canvas.height], colours: colours()};
        }""",
        base64.b64encode(path.read_bytes()).decode(),
    )


def box(view: View, selector: str) -> list[float]:
    return view.root.evaluate(
        """(root, selector) => {
            const {width, height} = (selector ? root.querySelector(selector) : root).getBoundingClientRect();
            return [width, height];
        }""",
        selector,
    )


def test_all_that_the_view_saves_holds_what_was_seen(bench: Notebook, tmp_path: Path, browser: Browser) -> None:
    view = bench.view("w = AxonWidget(tracer=held)\nw")
    view.status("idle")
    view.part("save").click()
    assert view.part("save-picture").is_disabled()
    assert "nothing to save yet" in view.part("save-said").inner_text()
    view.page.keyboard.press("Escape")
    assert view.part("save-menu").is_hidden()
    bench.execute(f"w.generate({PROMPT!r}, max_tokens=8, seed=3)\nw.wait()")
    trace = Trace.from_json(bench.execute("print(w.trace.to_json())"))
    view.tokens(len(trace) - 1)
    view.at_rest()
    view.part("save").click()
    assert view.flaws(view.part("save-menu")) == []

    drawn = save(view, "picture", tmp_path)
    assert drawn.name == f"{NAME}.png"
    found = picture(view, drawn)
    assert found["size"] == pytest.approx([2 * side for side in box(view, ".holder")], abs=2)
    assert found["colours"] > 300

    found = picture(view, save(view, "panels", tmp_path))
    assert found["size"] == pytest.approx([2 * side for side in box(view, "")], abs=2)
    assert min(found["middle"], found["foot"]) > 100
    assert view.part("save-menu").is_visible()

    found = film(view, save(view, "video", tmp_path))
    wide, high = box(view, ".holder")
    text = box(view, "[data-axon=strip]")  # which is as wide as the graph there
    shape = (high + text[1] * wide / text[0]) / wide
    assert found["size"] == pytest.approx([2 * wide, 2 * wide * shape], abs=8)
    # Each token stays for a sixth of a second, and the whole a little longer.
    assert (len(trace) - 2) / 6 < found["duration"] < 30
    assert found["colours"] > 300
    assert view.part("newest").is_disabled()  # it looks at the newest token again, as before

    assert Trace.from_json(save(view, "json", tmp_path)) == trace
    table = save(view, "csv", tmp_path)
    read = pd.read_csv(table, keep_default_na=False)
    read["label"] = read["label"].map(without_apostrophe)
    pd.testing.assert_frame_equal(read, trace.to_pandas(), check_dtype=False)
    with shown(browser, save(view, "page", tmp_path), own := Watch()) as saved:
        saved.shows(trace.text)
        # It saves pictures too, and itself: what needs the kernel is not offered.
        assert saved.part("save-json").count() == saved.part("save-csv").count() == 0
        again = save(saved, "page", tmp_path)
        written = saved.page.evaluate(WRITTEN)
        saved.page.evaluate(KEEP)
        saved.part("speed").select_option("4×")
        assert picture(saved, save(saved, "panels", tmp_path))["middle"] > 100
        assert saved.page.evaluate(f"{DRAWN}.querySelector('select.speed [selected]').textContent") == "4×"
    assert own.complaints == []
    with shown(browser, again, own := Watch()) as saved:
        saved.shows(trace.text)
        assert saved.page.evaluate(WRITTEN) == written  # no text in it has become a part of the page
        saved.part("play").click()
        beyond(saved, 3)
        assert saved.page.viewport_size == SMALL
    assert own.complaints == []


def test_saving_while_it_writes_and_what_cannot_be_saved(bench: Notebook, tmp_path: Path) -> None:
    view = bench.view("w = AxonWidget(tracer=FakeTracer(pace=0.1, label='a \\x01 <{}>'.format))\nw")
    view.status("idle")
    bench.execute("w.generate('x', max_tokens=300)")
    view.tokens(5)
    rows = pd.read_csv(io.StringIO(save(view, "csv", tmp_path).read_text()))
    assert 5 <= rows["step"].nunique() < 100
    assert len(json.loads(save(view, "json", tmp_path).read_text())["steps"]) < 200
    assert picture(view, save(view, "panels", tmp_path))["middle"] > 100
    view.status("running")

    # A film is made of a run that is written. It is broken off by a button, and the look goes back to where it was.
    assert view.part("save-video").is_disabled()
    assert "Once the model has stopped writing" in view.part("save-video").inner_text()
    view.tokens(20)
    bench.execute("w.stop()\nw.wait()")
    view.status("idle")
    assert view.part("save-video").is_enabled()
    record(view)
    assert view.part("save-picture").is_disabled()
    view.part("save-cancel").click()
    view.until("root.querySelector('[data-axon=save-said]').textContent === 'Cancelled: nothing was saved.'")
    view.until("root.querySelector('[data-axon=newest]').disabled")
    # And by what would make another film of it, by a page that draws nothing, and by a hand on the text.
    record(view)
    view.part("loop").click()
    view.until("root.querySelector('[data-axon=save-said]').textContent.includes('loop was changed')")
    assert view.part("play").get_attribute("aria-label") == "Replay token by token"
    view.part("loop").click()
    view.part("save").click()
    record(view)
    view.page.evaluate(HIDE)
    view.until("root.querySelector('[data-axon=save-said]').textContent.includes('page was hidden')")
    view.until("root.querySelector('[data-axon=newest]').disabled")
    record(view)
    view.token(15).click()  # where the film is not yet
    view.until("root.querySelector('[data-axon=save-said]').textContent.includes('taken over by hand')")
    assert view.part("cursor").inner_text().startswith("16 / ")

    # What Python cannot give, and what the browser cannot make, is said.
    bench.execute("w.export = lambda trace, what: (_ for _ in ()).throw(ValueError('No <room>.'))")
    view.part("save-json").click()
    view.until("root.querySelector('[data-axon=save-said]').textContent === 'No <room>.'")
    view.page.evaluate("window.kept = MediaRecorder; delete window.MediaRecorder")
    view.part("save").click()
    view.part("save").click()
    assert view.part("save-video").is_disabled()
    assert "cannot record video" in view.part("save-video").inner_text()
    view.page.evaluate("() => { window.MediaRecorder = window.kept; }")
