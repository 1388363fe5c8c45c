"""The token strip over a long run of strange tokens: a page of its own, with no kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from axon_widget.export import to_html
from axon_widget.trace import Alternative, Feature, Fit, Origin, SAEOrigin, TokenStep, Trace
from tests.browser.conftest import Watch
from tests.browser.lab import View
from tests.browser.test_saved_run import at, beyond, shown

GIVEN, TOKENS = 1000, 1500
STRANGE = [
    *("Once", " upon", "\n", "\n\n", "\tindented", "\t", "    ", " ", "", "", " 😀", "🇨🇭", "你", "好世界", "，"),
    *(" مرحبا", " بالعالم", " שלום", " <b>bold</b>", "<img src=x onerror=alert(1)>", " \u202eturned", " after", "\x00"),
    *("\u200b", " " + "a" * 1000, " end", "\u2028", "\r\n", "Z̷͎͐a̵l̶g̴o̷"),
]
LABEL = "\u202ea label <img src=x onerror=alert(1)>"
HEATS = "root => [...root.querySelectorAll('[data-step]')].map(t => Number(t.style.getPropertyValue('--heat')))"
# The contrast of each token's text with what lies behind it, as the browser would paint both.
CONTRASTS = """root => {
    const canvas = new OffscreenCanvas(1, 1), brush = canvas.getContext("2d", {willReadFrequently: true});
    const light = (...colours) => {
        brush.clearRect(0, 0, 1, 1);
        for (const colour of colours) {
            brush.fillStyle = colour;
            brush.fillRect(0, 0, 1, 1);
        }
        const [r, g, b] = [...brush.getImageData(0, 0, 1, 1).data].map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const back = getComputedStyle(root).backgroundColor;
    return [...root.querySelectorAll("[data-step] .core")].slice(0, 300).map(core => {
        const style = getComputedStyle(core);
        const [text, behind] = [light(back, style.backgroundColor, style.color), light(back, style.backgroundColor)];
        return Math.max(text, behind) / Math.min(text, behind);
    });
}"""


def the_run() -> Trace:
    steps = [TokenStep("", 1, 0, 0, generated=False, special=True)]
    for n in range(1, TOKENS + 1):
        token = STRANGE[n - 1] if n <= len(STRANGE) else f" w{n}"
        steps.append(
            TokenStep(
                *(token, 5, n, n, n > GIVEN),
                logprob=-(n * 37 % 80) / 10,
                rank=n,
                alternatives=(Alternative(token, 5, 0.4), Alternative(" other", 6, 0.2)),
                features=tuple(Feature((n + i) % 30, 5.0 - i, 3, LABEL) for i in range(3)),
                fits=(Fit((n * 29 % 100) / 100, 0.9, 3),),
                milliseconds=20,
            )
        )
    return Trace(Origin("made up", (SAEOrigin("an SAE", "blocks.3.hook_resid_pre", 3, 30),), "Once"), steps, "length")


@pytest.fixture(scope="module")
def the_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return to_html(the_run(), tmp_path_factory.mktemp("strip") / "long.html", feature_k=3)


@pytest.fixture
def view(browser: Browser, the_page: Path) -> Iterator[View]:
    watch = Watch()
    with shown(browser, the_page, watch) as view:
        view.tokens(TOKENS)
        yield view
    assert watch.complaints == []


def test_what_lights_the_tokens_and_that_they_stay_readable(view: View, shot: Callable[..., None]) -> None:
    trace = the_run()[1:]
    lit = view.part("lit-by")
    scale = view.part("lit-scale")
    expected = {
        "surprise": [min(-step.logprob / 6, 1) for step in trace if step.logprob is not None],
        "explained": [min((1 - (step.explained_variance or 0)) / 0.8, 1) for step in trace],
        "feature": [sum(0.2 + 0.8 * f.activation / 5 for f in step.features if f.id == 7) for step in trace],
    }
    # Until someone chooses: by surprise, and by a feature once one is selected.
    assert lit.locator("[aria-checked=true]").inner_text() == "surprise"
    assert scale.inner_text().split("\n") == ["0", "6+ nats"]
    for by, heats in expected.items():
        if by == "feature":
            view.part("search").fill("#7")
            view.part("search-row").first.click()
            view.part("feature-label").wait_for()
        lit.get_by_text(by, exact=True).click()
        view.until("root.querySelector('.lines').dataset.lit === argument", by)
        assert view.root.evaluate(HEATS) == pytest.approx(heats, abs=1e-3)
        view.part("strip").focus()
        view.page.keyboard.press("Home")
        view.page.keyboard.press("End")
        for theme in ("light", "dark"):
            view.page.emulate_media(color_scheme=theme)
            view.until("root.dataset.theme === argument", theme)
            assert min(view.root.evaluate(CONTRASTS)) >= 4.5
            shot(f"strip-{by}-{theme}", view)
    assert scale.inner_text().split("\n") == ["0", "5.00"]
    # What was chosen stays, here and in every other view.
    lit.get_by_text("explained", exact=True).click()
    view.part("speed").select_option("4×")
    view.page.reload()
    view.tokens(TOKENS)
    assert lit.locator("[aria-checked=true]").inner_text() == "explained"
    assert scale.inner_text().split("\n") == ["1", "≤ 0.20"]
    assert view.part("speed").locator("option:checked").inner_text() == "4×"


def test_one_moves_through_a_long_run(view: View) -> None:
    view.page.set_viewport_size({"width": 1000, "height": 500})
    view.part("strip").scroll_into_view_if_needed()
    scrolled = view.page.evaluate("scrollY")
    # A token costs as much where there are many others as where there are few.
    view.root.evaluate(
        """root => {
            const seen = root.changes = {count: 0};
            new MutationObserver(records => { seen.count += records.length; }).observe(
                root.querySelector(".lines"), {attributes: true, childList: true, characterData: true, subtree: true});
        }"""
    )
    view.part("strip").focus()
    for start, key in ((1, "Home"), (TOKENS - 1, "End")):
        view.page.keyboard.press(key)
        if key == "End":
            view.page.keyboard.press("ArrowLeft")
        at(view, start)
        view.root.evaluate("root => { root.changes.count = 0; }")
        for place in (1, 2, 3):
            view.page.keyboard.press("ArrowRight" if key == "Home" else "ArrowLeft")
            at(view, start + place * (1 if key == "Home" else -1))
        assert view.root.evaluate("root => root.changes.count") <= 3 * 20
    assert view.page.evaluate("scrollY") == scrolled
    scrubber = view.part("scrubber")
    box = scrubber.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    view.page.mouse.move(box["x"] + box["width"] * 0.2, y)
    view.page.mouse.down()
    view.page.mouse.move(box["x"] + box["width"] * 0.35, y)
    view.page.mouse.move(box["x"] + box["width"] * 0.5, y)
    view.page.mouse.up()
    view.until("Math.abs(parseInt(root.querySelector('[data-axon=cursor]').textContent) - argument) < 30", TOKENS / 2)
    place = int(view.part("cursor").inner_text().split(" / ")[0])
    assert scrubber.get_attribute("aria-valuetext") == f"{place} of {TOKENS}: ·w{place}"
    assert view.root.locator("[data-step][aria-selected=true]").get_attribute("data-step") == str(place)
    scrubber.press("ArrowRight")
    at(view, place + 1)
    # It plays, and the space bar stops it wherever one is; at the end it begins anew.
    view.part("speed").select_option("as written")
    scrubber.press("Space")
    beyond(view, place + 6)
    view.part("strip").press("Space")
    assert view.part("play").get_attribute("aria-label") == "Replay token by token"
    scrubber.press("End")
    at(view, TOKENS)
    view.part("loop").click()
    view.part("strip").press("ArrowLeft")
    view.part("strip").press("Space")
    view.until("parseInt(root.querySelector('[data-axon=cursor]').textContent) < argument", TOKENS / 2)
    view.part("play").click()


def test_what_is_said_of_a_token_covers_neither_it_nor_the_edges(view: View, shot: Callable[..., None]) -> None:
    def free(step: int) -> None:
        view.until(
            """(() => {
                const tip = root.querySelector("[data-axon=tip]"), own = root.getBoundingClientRect();
                if (tip.hidden || !tip.textContent.includes(`position ${argument}`)) return false;
                const box = tip.getBoundingClientRect();
                const strip = root.querySelector("[data-axon=strip]").getBoundingClientRect();
                const covers = [...root.querySelector(`[data-step="${argument}"]`).getClientRects()].some(one =>
                    one.width > 0 && one.left < box.right && one.right > box.left &&
                    Math.max(one.top, strip.top) < box.bottom && Math.min(one.bottom, strip.bottom) > box.top);
                return !covers && box.left >= Math.max(own.left, 0) && box.right <= Math.min(own.right, innerWidth) &&
                    box.top >= Math.max(own.top, 0) && box.bottom <= Math.min(own.bottom, innerHeight);
            })()""",
            step,
        )

    for size in ({"width": 1000, "height": 720}, {"width": 480, "height": 860}, {"width": 1000, "height": 380}):
        view.page.set_viewport_size(size)
        view.part("strip").scroll_into_view_if_needed()
        for step in (1, 9, 25, TOKENS):
            view.page.mouse.move(2, 2)
            view.token(step).locator(".core").hover(position={"x": 1, "y": 8})
            free(step)
        shot(f"strip-tip-{size['width']}-{size['height']}", of=view.page)
    # By keys, too; Escape takes it away.
    view.page.set_viewport_size({"width": 1000, "height": 720})
    view.page.mouse.move(2, 2)
    view.part("strip").focus()
    view.page.keyboard.press("Home")
    for _ in range(19):
        view.page.keyboard.press("ArrowRight")
    free(20)
    tip = view.part("tip")
    text = tip.inner_text()
    logprob = the_run()[20].logprob or 0
    for part in ("<img src=x onerror=alert(1)>", "rank 20", f"surprise {-logprob:.2f} nats", "a label <img"):
        assert part in text, part
    assert f"probability {100 * math.exp(logprob):.0f} %" in text
    assert view.root.locator("[data-axon=strip] img, [data-axon=strip] b, [data-axon=tip] img").count() == 0
    view.page.keyboard.press("Escape")
    assert tip.is_hidden()
    # What cannot be seen can be hit, and what turns text around turns only itself.
    invisible = [n + 1 for n, token in enumerate(STRANGE) if not token.strip("\x00\u200b\u2028")]
    for step in invisible:
        box = view.token(step).bounding_box()
        assert box
        assert box["width"] >= 4, step
    assert view.token(21).evaluate("token => getComputedStyle(token).unicodeBidi") == "isolate"
    assert view.text() == "".join(step.token if len(step.token) < 300 else f"{step.token[:299]}…" for step in the_run())
    assert view.flaws() == []
