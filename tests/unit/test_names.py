"""Names that come in later: from labels, or from the tokens that features boost."""

import gc
import threading
import time
import weakref

import pytest
import torch

from axon_widget.engine.names import Names
from axon_widget.engine.tracer import Tracer
from axon_widget.labels.logits import LogitLabels
from axon_widget.trace import Feature, TokenStep, Trace
from tests.kernel.fake_tracer import FakeTracer as PacedTracer
from tests.unit import tiny
from tests.unit.fakes import FakeReader, FakeTracer, listening, message, sent, settle, still_works, until, write


def nameless(feature):
    return ""


class Boosts:
    """A fall-back that notes what it is asked for."""

    def __init__(self):
        self.asked = []

    def names_of(self, features):
        self.asked.append(list(features))
        return [f"boosts {f}" for f in features]


class Watcher:
    def __init__(self, names):
        self.heard = 0
        names.watch(self.hear)

    def hear(self):
        self.heard += 1


def trace_of(*ids):
    return Trace(steps=[TokenStep(" a", 1, n, n, True, features=(Feature(i, 1.0, 0),)) for n, i in enumerate(ids)])


def test_a_label_goes_before_the_tokens_a_feature_boosts():
    reader, boosts = FakeReader(0, label=nameless), Boosts()
    names = Names([reader], lambda sae: boosts)
    assert names(0, 5) == ""
    names.lack([(0, 5), (0, 6), (0, 5)])
    assert names.fill(1)
    assert (names(0, 5), names(0, 6)) == ("boosts 5", "")
    assert names.fill(8)
    assert not names.fill(8)
    assert boosts.asked == [[5], [6]]
    names.lack([(0, 5)])  # has a name
    assert not names.fill(8)
    reader.labels.become("label {}".format)
    assert (names(0, 5), names(0, 7)) == ("label 5", "label 7")
    names.lack([(0, 9)])
    assert not names.fill(8)


def test_what_was_shown_last_is_named_first():
    boosts = Boosts()
    names = Names([FakeReader(0, label=nameless)], lambda sae: boosts)
    names.lack([(0, 1), (0, 2), (0, 3)])
    names.lack([(0, 4), (0, 2)])
    while names.fill(2):
        pass
    assert boosts.asked == [[4, 2], [1, 3]]


def test_where_there_is_no_fall_back_a_feature_is_not_asked_for_again():
    names = Names([FakeReader(0, label=nameless)], lambda sae: None)
    names.lack([(0, 5)])
    assert names.fill(8)
    names.lack([(0, 5)])
    assert not names.fill(8)
    assert names(0, 5) == ""


def test_labels_reach_the_traces_that_somebody_holds_and_those_who_watch():
    reader = FakeReader(0, label=nameless)
    names = Names([reader], lambda sae: None)
    watcher, kept, gone, other = Watcher(names), trace_of(3, 4, 3), trace_of(3), trace_of(3)
    for trace in (kept, gone, kept):
        names.keep(trace)
    del trace, gone
    gc.collect()
    before = kept[1]
    reader.labels.become(lambda i: "three" if i == 3 else "")
    assert [step.features[0].label for step in kept] == ["three", "", "three"]
    assert list(kept.to_pandas().label) == ["three", "", "three"]
    assert kept[1] is before
    assert other[0].features[0].label == ""
    assert watcher.heard == 1
    names.keep(other)
    assert len(names._traces) == 2
    del watcher
    gc.collect()
    reader.labels.become(nameless)
    assert kept[0].features[0].label == "three"  # better an old name than none


def test_names_do_not_keep_two_runs_apart():
    a = trace_of(3, 4, 5)
    b = a.branch(2)
    b.rename(lambda sae, i: f"name {i}")
    assert a.common(b) == 2
    assert b[1].features[0].label == "name 4"
    assert a[1].features[0].label == ""


def test_a_trace_may_grow_while_it_is_renamed():
    trace, done = trace_of(*range(300)), threading.Event()

    def grow():
        for n in range(300, 3000):
            trace.append(TokenStep(" a", 1, n, n, True, features=(Feature(n, 1.0, 0),)))
        done.set()

    thread = threading.Thread(target=grow)
    thread.start()
    while not done.is_set():
        trace.rename(lambda sae, i: f"name {i}")
    thread.join()
    trace.rename(lambda sae, i: f"name {i}")
    assert [step.features[0] for step in trace] == [Feature(n, 1.0, 0, f"name {n}") for n in range(3000)]


def test_search_finds_by_words_and_by_number_in_every_sae():
    words = ("Paris", "the city of Paris", "Paris, a city", "London city")
    readers = [FakeReader(layer, 4, words.__getitem__, f"sae {layer}") for layer in (1, 2)]
    names = Names(readers, lambda sae: None)
    order = (0, 2, 1)
    assert names.search("paris") == [(sae, i, words[i]) for sae in (0, 1) for i in order]
    assert [row[:2] for row in names.search("city paris")] == [(0, 2), (0, 1), (1, 2), (1, 1)]
    assert [row[:2] for row in names.search("PARIS, a")] == [(0, 2), (1, 2)]
    assert names.search("#3") == [(0, 3, "London city"), (1, 3, "London city")]
    assert names.search("4") == names.search("nowhere") == names.search("  ") == []
    assert len(names.search("city", 2)) == 2


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_features_without_a_label_are_named_by_the_tokens_they_boost(kind, pair):
    shared = pair(kind, "blocks.1.hook_resid_pre")[0]
    tracer = Tracer(shared.model, shared.vocabulary.tokenizer, shared.readers)  # with names of its own
    trace = tracer.run(tiny.PROMPT, max_tokens=3, temperature=0)
    keys = {(f.sae, f.id) for step in trace for f in step.features}
    assert all(f.label == "" for step in trace for f in step.features)
    tracer.names.lack(keys)
    while tracer.names.fill(7):
        pass
    tracer.names.renew()
    decoder, model = tracer.readers[0].sae.W_dec, tracer.model.plain
    norm = model.get_submodule(tracer.model.bridge.ln_final.name)
    head = model.get_output_embeddings().weight.float()
    for step in trace:
        for feature in step.features:
            direction = decoder[feature.id].float()
            if kind == "gpt2":
                direction = direction - direction.mean()
            logits = head @ (direction * norm.weight.float())
            best = [tracer.vocabulary.name(int(t)).strip() for t in logits.topk(3).indices]
            assert feature.label == ", ".join(best)
            assert tracer.describe(feature.id).text == feature.label


def test_several_directions_at_once_are_those_of_each_alone():
    torch.manual_seed(0)

    class End:
        matrix = torch.randn(90, 8)

        def weights(self, d):
            return d @ self.matrix.T

    labels = LogitLabels(torch.randn(20, 8), End(), "t{}".format)
    assert labels.names_of([3, 11, 3]) == [labels.get(i).text for i in (3, 11, 3)]


# In the widget


def widget_of(fake, **traits):
    from axon_widget.widget import AxonWidget

    widget = listening(AxonWidget(tracer=fake, **traits))
    widget.wait(10)
    return widget


def test_labels_that_come_in_are_told_and_stand_in_all_that_is_kept():
    fake = FakeTracer()
    fake.readers[0].labels.label = nameless
    widget = widget_of(fake, max_tokens=4)
    widget.generate("a b")
    widget.wait(10)
    assert widget.step["features"][0]["label"] == ""
    fake.readers[0].labels.become("late {}".format, "Half of the labels are here.")
    settle(widget)
    until(lambda: widget.label_status == "Half of the labels are here.")
    [told] = sent(widget, "labels")
    shown = {(f["sae"], f["id"]) for frame in widget._tree.newest.frames for f in frame["features"]}
    assert {(sae, i): label for sae, i, label in told["labels"]} == {(sae, i): f"late {i}" for sae, i in shown}
    assert all(f.label == f"late {f.id}" for step in widget.trace for f in step.features)
    assert widget.step["features"][0]["label"].startswith("late ")
    message(widget, kind="hello")
    [steps] = sent(widget, "steps")
    assert all(f["label"] == f"late {f['id']}" for frame in steps["steps"] for f in frame["features"])
    fake.readers[0].labels.become("late {}".format, "")
    settle(widget)
    until(lambda: widget.label_status == "")
    assert len(sent(widget, "labels")) == 1  # nothing has changed
    still_works(widget)


def test_steered_features_that_never_fired_are_told_of_too():
    fake = FakeTracer()
    widget = widget_of(fake, max_tokens=2)
    widget.steer({77: 0.0})
    fake.readers[0].labels.become("late {}".format)
    settle(widget)
    until(lambda: [told["labels"] for told in sent(widget, "labels")] == [[[0, 77, "late 77"]]])


def test_a_steered_feature_with_a_long_name_is_not_told_of_again():
    fake = FakeTracer()
    fake.readers[0].labels.label = lambda i: "long " * 30
    widget = widget_of(fake)
    widget.steer({77: 0.0})
    fake.readers[0].labels.tell()
    settle(widget)
    settle(widget)
    assert sent(widget, "labels") == []


def test_a_feature_under_inspection_is_told_again():
    fake = FakeTracer()
    widget = widget_of(fake)
    message(widget, kind="feature", sae=0, id=7)
    message(widget, kind="select", sae=0, id=7)
    settle(widget)
    assert fake.readers[0].labels.asked == [7]
    fake.readers[0].labels.become("better {}".format)
    settle(widget)
    until(lambda: [told["label"] for told in sent(widget, "feature")] == ["label 7", "better 7"])


def test_what_python_asks_about_is_looked_up():
    fake = FakeTracer()
    widget = widget_of(fake)
    assert widget.feature(5).text == "label 5"
    assert fake.readers[0].labels.asked == [5]


def test_search_from_python_and_from_the_view():
    widget = widget_of(FakeTracer(layers=(1, 4)))
    table = widget.search("label 42")
    assert table.to_dict("list") == {"sae": [0, 1], "layer": [1, 4], "id": [42, 42], "label": ["label 42"] * 2}
    message(widget, kind="search", text="label 42")
    message(widget, kind="search", text="label")
    settle(widget)
    exact, many = sent(widget, "found")
    assert (exact["text"], exact["more"]) == ("label 42", False)
    assert exact["rows"] == [[0, 42, "label 42"], [1, 42, "label 42"]]
    assert len(many["rows"]) == 60
    assert many["more"]


def test_the_widget_names_what_lacks_a_name_beside_the_writing_and_the_rest_afterwards():
    fake, boosts = FakeTracer(), Boosts()
    fake.readers[0].labels.label = nameless
    fake.names._boosts = lambda sae: boosts
    widget = widget_of(fake, max_tokens=5)
    widget.generate("a b")
    widget.wait(10)
    until(lambda: all(f.label for step in widget.trace for f in step.features))
    settle(widget)
    named = [i for some in boosts.asked for i in some]
    shown = {f["id"] for frame in widget._tree.newest.frames for f in frame["features"]}
    assert max(map(len, boosts.asked)) <= 32
    assert set(named[: len(shown)]) == shown  # these first
    assert sorted(named) == sorted({f.id for step in widget.trace for f in step.features})
    assert len(named) > len(shown)
    told = {i: label for message in sent(widget, "labels") for _, i, label in message["labels"]}
    assert told == {i: f"boosts {i}" for i in shown}
    assert {f.label for step in widget.trace for f in step.features} == {f"boosts {i}" for i in named}


def test_naming_takes_a_tenth_of_the_time_at_most_while_it_writes():
    class Slow(Boosts):
        def names_of(self, features):
            self.asked.append((time.monotonic(), len(features)))
            time.sleep(0.05)
            return [f"boosts {f}" for f in features]

    fake, boosts = PacedTracer(0.01), Slow()
    fake.readers[0].labels.label = nameless
    fake.names._boosts = lambda sae: boosts
    widget = widget_of(fake, max_tokens=120)
    start = time.monotonic()
    widget.generate("a b")
    widget.wait(30)
    end = time.monotonic()
    beside = [count for at, count in boosts.asked if at < end and count < 32]  # 32 at once when it has ended
    assert 2 <= len(beside) <= 1 + (end - start) / 0.5
    assert max(beside) == 8


def test_a_closed_widget_hears_no_labels():
    fake = FakeTracer()
    widget = widget_of(fake)
    widget.close()
    fake.readers[0].labels.become("late {}".format, "anything")
    assert widget.label_status == ""
    assert sent(widget, "labels") == []


def test_a_closed_widgets_runs_get_the_names_known_by_then_and_no_later_ones():
    fake = FakeTracer()
    fake.readers[0].labels.label = nameless
    old, other = (widget_of(fake, max_tokens=2) for _ in range(2))
    for widget in (old, other):
        widget.generate("a b")
        widget.wait(10)
    old.branch(2)
    old.wait(10)
    assert len(fake.names._traces) == 3
    assert len(fake.names._watchers) == 2
    fake.readers[0].labels.label = "by then {}".format  # and nobody was told yet
    old.close()
    assert [held() for held in fake.names._traces] == [other.trace]
    assert len(fake.names._watchers) == 1
    assert {f.label for trace in old.branches for step in trace for f in step.features} == {
        f"by then {f.id}" for trace in old.branches for step in trace for f in step.features
    }
    fake.readers[0].labels.become("late {}".format)
    assert old.trace[0].features[0].label.startswith("by then ")
    assert other.trace[0].features[0].label.startswith("late ")


def test_a_run_that_goes_on_while_its_widget_closes_is_left_too():
    fake = FakeTracer()
    widget = widget_of(fake, max_tokens=5)
    write(widget, fake)
    widget.close()
    fake.names.keep(widget.trace)  # as if it had begun only just then
    fake.gate.set()
    until(lambda: not widget._session._thread.is_alive())
    assert fake.names._traces == fake.names._watchers == []
    assert widget.trace.finish == "stopped"


def test_another_model_leaves_the_names_of_the_one_before(monkeypatch):
    from axon_widget.engine.tracer import Tracer

    first, second = FakeTracer(), FakeTracer()
    monkeypatch.setattr(Tracer, "load", lambda *names, **how: second)
    widget = widget_of(first, max_tokens=2)
    widget.generate("a b")
    widget.wait(10)
    widget.load("another")
    widget.wait(10)
    assert first.names._traces == first.names._watchers == []
    assert [held() for held in second.names._traces] == [widget.trace]
    first.readers[0].labels.become("of the first {}".format)
    assert widget.trace[0].features[0].label.startswith("label ")
    widget.close()
    assert second.names._traces == second.names._watchers == []


def test_a_widget_that_is_closed_while_it_loads_hears_nothing(monkeypatch):
    from axon_widget.engine.tracer import Tracer

    fake = FakeTracer()
    widget = widget_of(FakeTracer())
    follow = widget._naming.follow

    def closed_meanwhile(tracer, traces):
        widget.close()
        follow(tracer, traces)

    widget._naming.follow = closed_meanwhile
    monkeypatch.setattr(Tracer, "load", lambda *names, **how: fake)
    widget.load("another")
    until(lambda: not widget._session._thread.is_alive())
    assert fake.names._traces == fake.names._watchers == []


def test_a_widget_without_labels_stays_so(monkeypatch):
    from axon_widget.engine.tracer import Tracer
    from axon_widget.widget import AxonWidget

    asked = []
    monkeypatch.setattr(Tracer, "load", lambda *names, **how: asked.append(how["labels"]) or FakeTracer())
    widget = AxonWidget(model="some", labels=False)
    widget.wait(10)
    widget.load("another")
    widget.wait(10)
    widget.load("a third", labels={3: "three"})
    widget.wait(10)
    assert asked == [False, False, {3: "three"}]


def test_another_model_can_be_loaded_from_the_view(monkeypatch):
    from axon_widget.engine.tracer import Tracer

    asked = []

    def load(*names, **how):
        asked.append((names, how["labels"]))
        if names[0] == "missing":
            raise ValueError("There is no such model.")
        return FakeTracer(layers=(2,))

    monkeypatch.setattr(Tracer, "load", load)
    widget = widget_of(FakeTracer(), max_tokens=3)
    old = widget.tracer
    message(widget, kind="load", model="missing", sae="some/sae")
    until(lambda: widget.error)
    assert (widget.error, widget.tracer, widget.status) == ("There is no such model.", old, "idle")
    still_works(widget)
    message(widget, kind="load", model="embedded", sae=None)
    widget.wait(10)
    assert asked == [(("missing", "some/sae"), None), (("embedded", None), None)]
    assert widget.tracer is not old
    assert widget.info["saes"][0]["layer"] == 2
    for wrong in ({"model": 3, "sae": None}, {"model": "a", "sae": 4}, {"model": "a"}):
        message(widget, kind="load", **wrong)
        assert "The view sent" in widget.error
        widget.error = ""
    still_works(widget)


def test_the_graph_has_names_that_came_late():
    fake = FakeTracer()
    fake.readers[0].labels.label = nameless
    widget = widget_of(fake, max_tokens=4)
    widget.generate("a b")
    widget.wait(10)
    assert set(widget.graph.nodes().label) == {""}
    fake.readers[0].labels.become("late {}".format)
    nodes = widget.graph.nodes()
    assert list(nodes.label) == [f"late {i}" for i in nodes.id]
    fake.readers[0].labels.become(nameless)
    assert list(widget.graph.nodes().label) == list(nodes.label)  # better an old name than none


def test_a_feature_that_cannot_be_named_ends_no_run():
    class Broken(Boosts):
        def names_of(self, features):
            super().names_of(features)
            raise RuntimeError("The unembedding lies on another device.")

    fake, boosts = FakeTracer(), Broken()
    fake.readers[0].labels.label = nameless
    fake.names._boosts = lambda sae: boosts
    widget = widget_of(fake, max_tokens=5)
    widget.generate("a b")
    assert widget.wait(10).finish == "length"
    settle(widget)
    assert widget.error == "The unembedding lies on another device."
    named = [i for some in boosts.asked for i in some]
    assert len(named) == len(set(named)), "it was tried again"


def test_a_late_label_is_not_overwritten_by_an_older_name():
    """Two threads rename: the one that began first read the older names."""
    label, reading, go = "the tokens it boosts", threading.Event(), threading.Event()

    def read(i):
        found = label
        if found == "the tokens it boosts" and not reading.is_set():
            reading.set()
            go.wait(10)
        return found

    names = Names([FakeReader(0, label=read)], lambda sae: None)
    trace = trace_of(3)
    names.keep(trace)
    first, second = threading.Thread(target=names.renew), threading.Thread(target=names.renew)
    first.start()
    assert reading.wait(10)
    label = "its label"
    second.start()
    second.join(0.2)
    go.set()
    first.join(10)
    second.join(10)
    assert trace[0].features[0].label == "its label"


@pytest.mark.parametrize("digits", ["9" * 5000, "0" * 5000, "²"])
def test_a_number_that_is_no_features_finds_nothing(digits):
    assert Names([FakeReader(0, label=nameless)], lambda sae: None).search(digits) == []


def test_what_can_be_loaded_is_told_while_something_loads(monkeypatch):
    from axon_widget.engine.tracer import Tracer

    go = threading.Event()
    monkeypatch.setattr(Tracer, "load", lambda *names, **how: go.wait(10) and FakeTracer(layers=(2,)))
    widget = widget_of(FakeTracer())
    widget.load("something large")
    message(widget, kind="catalog", text="stories15m layer 3")
    try:
        until(lambda: sent(widget, "catalog"))
        assert widget.status == "loading"
    finally:
        go.set()
    [told] = sent(widget, "catalog")
    assert [(row["name"], row["labelled"], row["cached"]) for row in told["rows"]] == [
        ("embedded/blocks.3.hook_resid_pre", True, True)
    ]
    widget.wait(10)


def test_a_catalog_that_cannot_be_read_is_told(monkeypatch):
    from axon_widget import catalog

    monkeypatch.setattr(catalog, "search", lambda text, limit: 1 / 0)
    widget = widget_of(FakeTracer())
    message(widget, kind="catalog", text="")
    until(lambda: widget.error == "ZeroDivisionError: division by zero")
    still_works(widget)


def test_the_error_of_a_load_goes_when_another_is_asked_for(monkeypatch):
    from axon_widget.engine.tracer import Tracer

    def load(name, *others, **how):
        if name == "missing":
            raise ValueError("There is no such model.")
        return FakeTracer(layers=(2,))

    monkeypatch.setattr(Tracer, "load", load)
    widget = widget_of(FakeTracer())
    widget.load("missing")
    until(lambda: widget.error == "There is no such model.")
    widget.load("there")
    widget.wait(10)
    assert widget.error == ""


@pytest.mark.parametrize("given", [{"labels": {1: "one"}}, {"labels": False}, {"device_map": "auto"}])
def test_what_a_given_tracer_would_ignore_is_refused(given):
    from axon_widget.widget import AxonWidget

    with pytest.raises(TypeError, match="Give either a tracer, or what to load"):
        AxonWidget(tracer=FakeTracer(), **given)


@pytest.mark.parametrize("names", [("",), (" ", None), ("embedded", ""), ("embedded", ["", "x"])])
def test_an_empty_name_is_no_directory_and_no_default(names):
    from axon_widget.engine.tracer import Tracer

    with pytest.raises(ValueError, match="is empty: leave it out"):
        Tracer.load(*names, device="cpu")


def test_a_closed_widget_that_nobody_holds_is_gone():
    from axon_widget.widget import AxonWidget

    fake = FakeTracer()
    widget = AxonWidget(tracer=fake)
    widget.generate("a b", max_tokens=2)
    widget.wait(10)
    gone = weakref.ref(widget), weakref.ref(widget.trace)
    widget.close()
    widget._session.close(timeout=10)
    del widget
    gc.collect()
    assert [held() for held in gone] == [None, None]


def test_the_same_autoencoder_with_other_labels_renames_the_run(monkeypatch):
    from axon_widget.engine.tracer import Tracer

    other = FakeTracer()
    other.readers[0].labels.label = "mine {}".format
    monkeypatch.setattr(FakeTracer, "info", property(lambda self: INFO.fget(self) | {"saes": named(self)}))
    monkeypatch.setattr(Tracer, "load", lambda *names, **how: other)
    widget = widget_of(FakeTracer(), max_tokens=2)
    widget.generate("a b")
    widget.wait(10)
    trace = widget.trace
    widget.load("the same", labels={1: "mine 1"})
    widget.wait(10)
    settle(widget)
    assert widget.trace is trace
    assert all(f.label == f"mine {f.id}" for step in trace for f in step.features)
    assert {label for told in sent(widget, "labels") for _, _, label in told["labels"]} >= {"mine 0", "mine 5"}
    assert widget.info["saes"][0]["labels"] == "mine 1"
    other.readers[0].labels.become("later {}".format)
    assert trace[0].features[0].label.startswith("later ")


INFO = FakeTracer.info


def named(fake):
    """The SAEs as a tracer tells of them, whose labels come from elsewhere than another's."""
    return [sae | {"labels": fake.readers[0].labels.name(1)} for sae in INFO.fget(fake)["saes"]]
