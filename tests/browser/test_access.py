"""For everybody: by keyboard alone, read aloud, in little light, at any size; what axe-core has to say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser.conftest import SIZE
from tests.browser.lab import ROOT, Notebook, View

AXE = ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"
MAKE = 'w = AxonWidget(model="embedded", max_tokens=20, seed=7)\nw'

# Each text that can be seen and is smaller than 11 pixels.
SMALL = """root => {
    const found = new Set(), walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const {data, parentElement: parent} = walker.currentNode;
        if (!data.trim() || !parent.checkVisibility({visibilityProperty: true})) continue;
        const size = parseFloat(getComputedStyle(parent).fontSize);
        if (size < 11) found.add(`${size}: ${data}`);
    }
    return [...found];
}"""

SERIOUS = """async root => {
    const {violations} = await axe.run(root, {resultTypes: ["violations"]});
    return violations.filter(({impact}) => ["serious", "critical"].includes(impact)).flatMap(({id, nodes}) =>
        nodes.map(({html, failureSummary}) => `${id}: ${html.slice(0, 160)} ${failureSummary}`));
}"""


def complaints(view: View, part: str = "") -> list[str]:
    """What stands in somebody's way, in all of the view or in what is open over it: the rest was looked at before."""
    place = view.part(part) if part else view.root
    return [*place.evaluate(SERIOUS), *place.evaluate(SMALL)]


@pytest.fixture
def access(bench: Notebook) -> Iterator[Notebook]:
    """The notebook, with axe-core in its page."""
    bench.page.evaluate(f"window.axe ?? (() => {{ {AXE.read_text()} }})()")
    yield bench
    bench.page.set_viewport_size(SIZE)
    bench.page.emulate_media(forced_colors="none", contrast="no-preference")
    bench.page.evaluate(
        "Object.keys(localStorage).filter(key => key.startsWith('axon-widget ')).map(key => delete localStorage[key])"
    )
    bench.command("apputils:change-theme", theme="JupyterLab Light")


def test_nothing_stands_in_anybodys_way(access: Notebook, shot: Callable[..., None]) -> None:
    view = access.view(MAKE)
    view.status("idle")
    found = {"idle": complaints(view)}
    shot("idle", view)
    access.execute("w.generate()\n_ = w.wait()\nw.steer({529: 1.2})\nw.error = 'This is what went wrong.'")
    view.shows(access.python("w.trace.text"))
    view.part("firing").locator(".row").first.click()
    view.details()
    found["inspector"] = complaints(view)
    view.part("open-models").click()
    view.part("models-row").first.wait_for()
    found["models"] = complaints(view, "models")
    access.page.keyboard.press("Escape")
    view.look(12)
    view.part("ask-why").click()
    view.part("why-row").first.wait_for()
    found["why"] = complaints(view)
    access.command("apputils:change-theme", theme="JupyterLab Dark")
    view.until("root.dataset.theme === 'dark'")
    found["why, dark"] = complaints(view)
    view.part("save").click()
    found["save, dark"] = complaints(view, "save-menu")
    access.page.keyboard.press("Escape")
    access.execute("w.branch(8, seed=3)\n_ = w.wait()")
    view.shows(access.python("w.trace.text"))
    view.part("compare").first.click()
    view.part("compared").wait_for()
    found["branches, dark"] = complaints(view)
    view.part("tab-features").click()
    found["inspector, dark"] = complaints(view)
    access.page.set_viewport_size({"width": 640, "height": 1000})
    view.until("root.classList.contains('narrow')")
    found["narrow"] = complaints(view)
    view.part("show-keys").click()
    found["keys"] = complaints(view, "keys")
    access.page.keyboard.press("Escape")
    access.page.emulate_media(contrast="more")
    found["more contrast"] = complaints(view)
    assert {state: said for state, said in found.items() if said} == {}


def test_everything_can_be_done_by_keyboard(access: Notebook) -> None:
    view = access.view(MAKE)
    view.status("idle")
    keys = access.page.keyboard

    def held() -> str:
        """What has the focus; that is seen."""
        return view.root.evaluate(
            """root => {
                const held = root.getRootNode().activeElement;
                if (!held.matches(":focus-visible")) return "";
                const look = () => [held, held.closest(".lines") ?? held].map(element => {
                    const {outlineStyle, outlineWidth, boxShadow, borderWidth, borderColor} = getComputedStyle(element);
                    return [outlineStyle, outlineWidth, boxShadow, borderWidth === "0px" || borderColor];
                }).join();
                const focused = look();
                held.blur();
                const seen = look() !== focused;
                held.focus({preventScroll: true});
                return seen ? held.dataset.axon ?? held.localName : "";
            }"""
        )

    foot = view.root.locator("footer")
    before = foot.bounding_box()
    view.part("prompt").focus()
    keys.press("Enter")
    view.tokens(20)
    access.execute("_ = w.wait()")
    view.shows(access.python("w.trace.text"))
    view.status("idle")
    assert foot.bounding_box() == before
    # Once round with Tab: everything that can be seen and worked, and nothing that cannot.
    view.part("open-models").focus()
    order: list[str] = []
    while view.root.evaluate("root => root.matches(':focus-within')") and len(order) < 200:
        order.append(held())
        assert order[-1], view.root.evaluate("root => root.getRootNode().activeElement.outerHTML.slice(0, 200)")
        keys.press("Tab")
    places = [order.index(name) for name in ("open-models", "prompt", "generate", "fit", "show-keys", "full-screen")]
    assert places == sorted(places)
    assert order.index("slider-temperature") < order.index("search") < order.index("strip")
    edges = {"collapse-settings", "collapse-side", "collapse-text", "divide-side", "divide-text", "divide-height"}
    assert edges <= set(order)

    # The table of keys takes the focus, keeps it and gives it back.
    view.part("fit").focus()
    keys.press("?")
    assert view.part("keys").is_visible()
    for _ in range(4):
        keys.press("Tab")
        # (The window's own controls may come in between.)
        assert view.root.evaluate("root => !root.matches(':has(:focus)') || root.matches(':has(dialog :focus)')")
    view.part("keys-close").focus()
    keys.press("Escape")
    assert view.part("keys").is_hidden()
    assert held() == "fit"

    # The graph is turned, and a field keeps its letters.
    keys.press("g")
    places_before = view.at_rest()[:3]
    for _ in range(4):
        keys.press("ArrowRight")
    assert view.at_rest()[:3] != places_before
    keys.press("/")
    keys.type("?fg/")
    assert view.part("search").input_value() == "?fg/"
    assert view.part("keys").is_hidden()
    keys.press("Escape")

    # What had the focus and can take no key any more leaves it to the view; every control lets the view's keys through.
    looking = "root.querySelector('[data-axon=newest]').disabled"
    view.part("scrubber").focus()
    keys.press("ArrowLeft")
    view.until(f"!{looking}")
    view.part("newest").focus()
    keys.press("Enter")
    view.until(f"{looking} && root.matches(':focus')")
    for name in ("scrubber", "speed"):
        view.part("scrubber").focus()
        keys.press("ArrowLeft")
        view.until(f"!{looking}")
        view.part(name).focus()
        keys.press("Escape")
        view.until(looking)
    # Tab out of the menu closes it.
    view.part("save").focus()
    keys.press("Enter")
    view.part("save-picture").wait_for()
    view.part("fit").focus()
    assert view.part("save-menu").is_hidden()

    # One thing at a time: what is open, the moment looked at, the whole screen.
    view.part("strip").focus()
    keys.press("ArrowLeft")
    view.until("!root.querySelector('[data-axon=newest]').disabled")
    row = view.part("firing").locator(".row").first
    row.focus()
    keys.press("f")
    view.until("document.fullscreenElement === root && root.getBoundingClientRect().width === innerWidth")
    keys.press("Enter")
    view.part("feature-label").wait_for()
    assert access.python("w.selected_feature") is not None
    keys.press("Escape")
    view.part("feature-label").wait_for(state="hidden")
    assert view.root.evaluate("root => root.matches(':focus-within')")
    assert view.part("newest").is_enabled()
    keys.press("Escape")
    view.until("root.querySelector('[data-axon=newest]').disabled")
    assert view.root.evaluate("root => root.classList.contains('full')")
    keys.press("Escape")
    view.until("!root.classList.contains('full') && !document.fullscreenElement")


def test_what_is_set_up_stays(access: Notebook, shot: Callable[..., None]) -> None:
    view = access.view(MAKE)
    keys = access.page.keyboard

    def sizes() -> list[float]:
        return view.root.evaluate(
            """root => [root, ...["graph", "strip"].map(name => root.querySelector(`[data-axon=${name}]`)),
                root.querySelector(".side")].map(e => Math.round(e.getBoundingClientRect().width) * 10_000 +
                    Math.round(e.getBoundingClientRect().height))"""
        )

    usual = sizes()
    for name, key in (("height", "ArrowDown"), ("side", "ArrowLeft"), ("text", "ArrowUp")):
        view.root.get_by_role("separator", name=SEPARATORS[name]).focus()
        keys.press(key)
    larger = sizes()
    assert [after - before for before, after in zip(usual, larger, strict=True)] == [16, -160_000, 16, 160_000]
    view.part("collapse-settings").click()
    view.part("collapse-text").click()
    collapsed = view.part("graph").bounding_box()
    # The same in the view of another run of the cell, and of another widget.
    view = access.view(MAKE)
    assert view.part("graph").bounding_box()["width"] == collapsed["width"]
    assert view.part("slider-temperature").is_hidden()
    assert view.part("strip").is_hidden()
    shot("collapsed", view)
    # Where a frame may not have the screen, the window it is in.
    view.root.evaluate("root => { root.requestFullscreen = () => Promise.reject(new TypeError('not allowed')); }")
    view.part("full-screen").click()
    view.until(
        """(() => {
            const {left, top, width, height} = root.getBoundingClientRect();
            const middle = root.getRootNode().elementFromPoint(innerWidth - 4, 4);
            return left === 0 && top === 0 && width === innerWidth && height === innerHeight && root.contains(middle);
        })()"""
    )
    keys.press("Escape")
    view.until("!root.classList.contains('full') && root.getBoundingClientRect().width < innerWidth")
    assert view.part("graph").bounding_box()["width"] == collapsed["width"]
    for name in ("collapse-settings", "collapse-text"):
        view.part(name).click()
    assert sizes() == larger
    # What is made high where there is room gives way where there is less.
    view.part("full-screen").click()
    view.until("root.classList.contains('full')")
    view.root.get_by_role("separator", name=SEPARATORS["text"]).press("End")
    view.until("root.querySelector('[data-axon=strip]').clientHeight > 300")
    keys.press("Escape")
    view.until(
        """root.querySelector('.middle').clientHeight >= 160 &&
            root.querySelector('footer').getBoundingClientRect().bottom <= root.getBoundingClientRect().bottom"""
    )
    for name in SEPARATORS.values():
        view.root.get_by_role("separator", name=name).focus()
        keys.press("Enter")
    assert sizes() == usual


SEPARATORS = {"height": "Height of the view", "side": "Width of the features", "text": "Height of the tokens"}
