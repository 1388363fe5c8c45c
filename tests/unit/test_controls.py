"""Sliders, recipes and presets for any cell, without a kernel."""

import threading

import ipywidgets
import pytest
from ipywidgets.widgets import widget as registry

from axon_widget.presets import RECIPES
from axon_widget.widget import AxonWidget
from tests.unit.fakes import FakeTracer
from tests.unit.test_widget import RANGES


@pytest.fixture
def fake():
    return FakeTracer()


@pytest.fixture
def widget(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("AXON_CACHE_DIR", str(tmp_path))
    made = AxonWidget(tracer=fake)
    made.wait(10)
    yield made
    fake.gate.set()
    made.close()
    made._session.close(timeout=10)


def parts(controls, kind):
    found = [controls]
    for part in found:
        found.extend(getattr(part, "children", ()))
    return [part for part in found if isinstance(part, kind)]


def press(controls, word):
    [button] = [button for button in parts(controls, ipywidgets.Button) if button.description == word]
    assert not button.disabled, word
    button.click()


def said(controls):
    [status] = parts(controls, ipywidgets.HTML)
    return status.value


def test_sliders_go_both_ways(widget):
    sliders = widget.controls().sliders
    assert list(sliders) == list(RANGES)  # in the view's order
    assert {name: (s.min, s.max) for name, s in sliders.items()} == RANGES
    assert {name: s.value for name, s in sliders.items()} == {name: getattr(widget, name) for name in RANGES}
    sliders["temperature"].value = 1.25
    assert widget.temperature == 1.25
    widget.feature_k = 9
    assert sliders["feature_k"].value == 9
    for name, (low, high) in RANGES.items():
        for value in (low, high):
            setattr(widget, name, value)
            assert sliders[name].value == value
    # Beyond its ends a slider stops; what is set on the widget is refused there.
    sliders["temperature"].value = 99
    assert widget.temperature == sliders["temperature"].value == 2


def test_some_sliders_only(widget):
    assert list(widget.controls("top_k", "temperature").sliders) == ["top_k", "temperature"]
    with pytest.raises(ValueError, match="no slider for warmth: there are temperature, top_k"):
        widget.controls("warmth")


def test_two_threads_that_move_the_same_setting_leave_both_alike(widget):
    slider = widget.controls().sliders["temperature"]

    def move(one, name, offset):
        for i in range(300):
            setattr(one, name, offset + i / 1000)

    hands = [
        threading.Thread(target=move, args=(slider, "value", 0.1)),
        threading.Thread(target=move, args=(widget, "temperature", 1.1)),
    ]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert slider.value == widget.temperature


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_set_what_they_hold_and_nothing_else(widget, name):
    controls = widget.controls()
    widget.feature_k, widget.top_p = 7, 0.77
    before = {setting: getattr(widget, setting) for setting in RANGES}
    press(controls, name.capitalize())
    assert {setting: getattr(widget, setting) for setting in RANGES} == before | RECIPES[name].settings


def test_the_balanced_recipe_is_what_the_widget_starts_with(widget):
    assert {name: getattr(widget, name) for name in RECIPES["balanced"].settings} == RECIPES["balanced"].settings


def test_presets_from_python_and_by_hand_are_the_same(widget):
    controls = widget.controls()
    [field] = parts(controls, ipywidgets.Combobox)
    assert list(field.options) == list(RECIPES)
    widget.temperature, widget.top_k = 0.3, 11
    field.value = "calm"
    press(controls, "Save")
    assert field.options[-1] == "calm"
    assert widget.presets["calm"] == {name: getattr(widget, name) for name in RANGES}
    widget.preset("anti-repetition")
    assert (widget.temperature, widget.top_k, widget.repetition_penalty) == (0.9, 40, 1.3)
    press(controls, "Use")
    assert (widget.temperature, widget.top_k, widget.repetition_penalty) == (0.3, 11, 1.1)
    widget.save_preset("calmer")
    press(controls, "Delete")
    assert list(widget.presets) == [*RECIPES, "calmer"] == list(field.options)
    widget.delete_preset("calmer")
    assert list(widget.presets) == list(RECIPES)


def test_what_goes_wrong_is_said_beside_the_buttons(widget, tmp_path):
    controls = widget.controls()
    [field] = parts(controls, ipywidgets.Combobox)
    field.value = "<img src=x>"
    press(controls, "Use")
    assert "There is no preset &#x27;&lt;img src=x&gt;&#x27;: there are" in said(controls)
    (tmp_path / "presets.json").write_text("{")
    press(controls, "Save")
    assert "Repair it or move it away" in said(controls)
    # Another that comes up over a broken file says so and works.
    again = widget.controls()
    assert "Repair it or move it away" in said(again)
    press(again, "Greedy")
    assert widget.temperature == 0
    widget.prompt = " "
    press(controls, "Generate")
    assert "The prompt is empty" in said(controls)


def test_generate_and_stop(widget, fake):
    controls = widget.controls()
    widget.prompt = "a b c"
    buttons = {button.description: button for button in parts(controls, ipywidgets.Button)}
    assert (buttons["Generate"].disabled, buttons["Stop"].disabled, said(controls)) == (False, True, "idle")
    press(controls, "Generate")
    assert (buttons["Generate"].disabled, buttons["Stop"].disabled, said(controls)) == (True, False, "running")
    press(controls, "Stop")
    assert said(controls) == "stopping"
    fake.gate.set()
    widget.wait(10)
    assert widget.trace.finish == "stopped"
    assert (buttons["Generate"].disabled, buttons["Stop"].disabled, said(controls)) == (False, True, "idle")


def test_what_is_shown_is_the_newest_whoever_shows_it(widget, fake):
    """One that shows what was reads no more after another has shown what is."""
    controls = widget.controls()
    buttons = {button.description: button for button in parts(controls, ipywidgets.Button)}
    generate, stop = buttons["Generate"], buttons["Stop"]
    reached, go_on = threading.Event(), threading.Event()

    def slow(_change):  # the front end takes its time with what the first thread shows
        reached.set()
        go_on.wait(10)

    generate.observe(slow, "disabled")
    threads = [threading.Thread(target=setattr, args=(widget, "status", word)) for word in ("running", "idle")]
    threads[0].start()
    assert reached.wait(10)
    generate.unobserve(slow, "disabled")
    threads[1].start()
    threads[1].join(0.2)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert (generate.disabled, stop.disabled, said(controls)) == (False, True, "idle")


def test_a_preset_is_one_change_to_the_run_that_it_falls_into(widget, fake):
    between = []
    widget.observe(lambda _change: between.append(widget._sampling()), ["temperature", "top_k"])
    before = widget._sampling()
    widget.preset("anti-repetition")
    assert between == [before] * 2
    after = widget._sampling()
    assert (after.temperature, after.top_k, after.repetition_penalty) == (0.9, 40, 1.3)

    def refuse(_change):
        raise RuntimeError("no")

    widget.observe(refuse, "temperature")
    with pytest.raises(RuntimeError):
        widget.preset("greedy")
    assert widget._sampling().temperature == 0  # what was set is in force


def observers(widget):
    return sum(len(kinds.get("change", [])) for kinds in widget._trait_notifiers.values())


def test_closed_controls_leave_nothing_behind(widget):
    widget.controls().close()
    before = observers(widget), len(registry._instances)
    for _ in range(3):
        controls = widget.controls()
        assert observers(widget) > before[0]
        controls.close()
        controls.close()
    assert (observers(widget), len(registry._instances)) == before
    controls.sliders["top_k"].value = 3
    assert widget.top_k == 50


def test_a_closed_widget_is_moved_no_more(widget):
    before = observers(widget)
    controls = widget.controls()
    widget.close()
    assert observers(widget) == before
    assert all(part.disabled for part in parts(controls, (ipywidgets.Button, ipywidgets.IntSlider)) if part is not None)
    assert said(controls) == "closed"
    controls.close()
