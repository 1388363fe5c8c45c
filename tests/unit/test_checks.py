"""The checks of a model: where each passes, where it must fail, and where there is nothing to judge by."""

import dataclasses
import itertools
import math
import time

import numpy as np
import pytest
import torch

import axon_widget
from axon_widget import checks
from axon_widget.checks import contrast, running, speed, topics
from axon_widget.checks.invariants import problems
from axon_widget.checks.result import Result, read, together
from axon_widget.engine.features import Reading
from axon_widget.labels import Label, Labels
from axon_widget.labels.sources import CalledLabels, GivenLabels
from axon_widget.trace import Alternative, Fit, Trace
from tests.unit import tiny
from tests.unit.fakes import FakeEngine, FakeReader

HOOK = "blocks.1.hook_resid_pre"
NAMES = list(topics.TOPICS)


def quiet(_sentence):
    return


@pytest.fixture
def small(pair):
    """A tiny random model, none of its tokens ending a text."""
    return pair("gpt2", HOOK)[0]


def labelled(*labels):
    """An engine with an SAE for each source of labels."""
    readers = [FakeReader(layer) for layer in range(len(labels))]
    for reader, of in zip(readers, labels, strict=True):
        reader.labels = of
    engine = FakeEngine(readers)
    engine.dense = lambda feature, sae=0: None  # nobody counted
    return engine


def given(names):
    return GivenLabels(names.items(), "labels in a test", 100)


def reads(monkeypatch, module, texts, saes=1):
    """Have a check read other texts: by text, what fires on each token."""

    def made(_tracer, text):
        tokens = texts.get(text, [])
        return [[Reading(list(of), list(of.values()), 0.9, 0.9)] * saes for of in tokens]

    monkeypatch.setattr(module, "read", made)


# 1: topics


@pytest.fixture
def each_its_own(monkeypatch):
    """Features 10 n to 10 n + 3 fire on the text of topic n, and all of them a little on every other."""
    every = {10 * n + i: 0.5 for n in range(len(NAMES)) for i in range(4)}
    texts = {
        topics.TOPICS[name][0]: [every, every | {10 * n + i: 2.0 for i in range(4)}] for n, name in enumerate(NAMES)
    }
    reads(monkeypatch, topics, texts, saes=2)


def naming(order):
    """Name the features of topic n by a word of topic order[n]."""
    words = [topics.TOPICS[name][1].split()[1] for name in NAMES]
    return given({10 * n + i: f"a thing like {words[other]}" for n, other in enumerate(order) for i in range(4)})


def test_labels_that_fit_pass_and_those_of_other_topics_fail(each_its_own):
    right = topics.check(labelled(naming(range(7))), quiet)
    assert (right.verdict, right.figures["right"], right.figures["of_a_topic"]) == ("pass", 28, 28)
    assert right.figures["p"] == pytest.approx(1 / math.factorial(7))
    assert right.figures["chance"] == pytest.approx(1 / 7)
    assert "28 of 28" in right.found
    assert any("a thing like dog" in line for line in right.details)
    wrong = topics.check(labelled(naming([1, 2, 3, 4, 5, 6, 0])), quiet)
    assert (wrong.verdict, wrong.figures["right"], wrong.figures["p"]) == ("fail", 0, 1.0)


def test_more_than_chance_that_is_little_does_not_pass(monkeypatch):
    # 14 of 70 right, as chance has it 10: seldom, and still not worth much.
    counts = np.full((7, 7), 4) + 1 * np.eye(7, dtype=int)
    right, chance, p = topics.against_chance(counts)
    assert p <= topics.LEVEL
    assert right < topics.TIMES * chance * counts.sum()
    monkeypatch.setattr(topics, "against_chance", lambda _: (right, right / 28, p))
    every = {10 * n + i: 1.0 for n in range(7) for i in range(4)}
    reads(monkeypatch, topics, {text: [every] for text, _ in topics.TOPICS.values()})
    assert topics.check(labelled(naming(range(7))), quiet).verdict == "fail"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (Labels(), "no labels"),
        (given(dict.fromkeys(range(70), "the letter Q")), "70 are|of 0 topics"),
        (given({0: "dog", 1: "cat", 10: "soup"}), "of 2 topics"),
    ],
)
def test_without_labels_of_topics_nothing_is_judged(each_its_own, labels, said):
    result = topics.check(labelled(labels), quiet)
    assert result.verdict == "not judged"
    assert any(part in result.found for part in said.split("|"))


def test_an_unlabelled_sae_among_others_keeps_the_whole_from_passing(each_its_own):
    result = topics.check(labelled(naming(range(7)), Labels()), quiet)
    assert result.verdict == "not judged"
    assert result.found == "Of 2 SAEs: 1 not judged, 1 passed."
    assert [figures["verdict"] for figures in result.figures.values()] == ["pass", "not judged"]


def test_chance_is_what_all_orders_of_the_texts_give():
    counts = np.random.default_rng(1).integers(0, 5, (5, 5))
    right, chance, p = topics.against_chance(counts)
    orders = [sum(counts[i][j] for i, j in enumerate(order)) for order in itertools.permutations(range(5))]
    assert right == np.trace(counts)
    assert chance == pytest.approx(sum(orders) / len(orders) / counts.sum())
    assert p == pytest.approx(sum(n >= right for n in orders) / len(orders))


@pytest.mark.parametrize(
    ("label", "topic"),
    [
        (Label("many: Dogs, cats"), "animals"),
        (Label("references to weather"), "weather"),
        (Label("hotdogged"), None),
        (Label("dog, soup"), None),
        (Label("", fires_on=((" soup", 1.0), (" bread", 0.5))), "food"),
        (Label("‘.’", fires_on=((" uncle", 1.0),)), "family"),
        (Label("", contexts=(((" the", 0.1), (" mon", 2.0), ("day", 0.9), (" soup", 0.3)),)), "time"),
        (Label("", contexts=(((" dog", 0.0),),)), None),
        (Label("\x1b[2J<b>dog</b>"), "animals"),
        (Label(""), None),
    ],
)
def test_a_labels_topic_is_that_of_its_words(label, topic):
    assert topics.topic_of(label) == topic


def test_no_text_holds_a_word_of_another_topic():
    for topic, (text, _) in topics.TOPICS.items():
        words = topics._WORD.findall(text.casefold())
        named = {topics._TOPIC_OF.get(w) or topics._TOPIC_OF.get(w.removesuffix("s")) for w in words} - {None}
        assert named == {topic}


def test_labels_on_their_way_are_waited_for(each_its_own):
    right = naming(range(7))

    def slowly(feature):
        time.sleep(0.002)
        return right.name(feature)

    said = []
    labels = CalledLabels(slowly, 100)
    assert not labels.coming
    assert topics.check(labelled(labels), said.append).figures["labelled"] == 28
    assert not labels.coming
    assert "labels are on their way" in said


# 6: contrast


def spread(*ranges, activation=1.0):
    return [dict.fromkeys(of, activation) for of in ranges]


def contrasted(monkeypatch, story, program, other, labels=None):
    texts = {contrast.STORY: story, contrast.CODE: program, contrast.ANOTHER_STORY: other}
    reads(monkeypatch, contrast, texts)
    return contrast.check(labelled(labels or Labels()), quiet)


def test_texts_with_features_of_their_own_pass(monkeypatch):
    result = contrasted(monkeypatch, spread(range(20)), spread(range(15, 35)), spread(range(5, 25)))
    assert result.verdict == "pass"
    assert result.figures["share"] == 5 / 20
    assert result.figures["share_of_two_stories"] == 15 / 20


def test_the_same_features_for_both_fail(monkeypatch):
    result = contrasted(monkeypatch, spread(range(40)), spread(range(20)), spread(range(40)))
    assert (result.verdict, result.figures["share"]) == ("fail", 1.0)


def test_exactly_half_is_not_fewer_than_half(monkeypatch):
    result = contrasted(monkeypatch, spread(range(20)), spread(range(10, 30)), spread(range(20)))
    assert (result.verdict, result.figures["share"]) == ("fail", 0.5)


def test_features_that_tell_every_text_from_every_other_are_not_judged(monkeypatch):
    result = contrasted(monkeypatch, spread(range(20)), spread(range(19, 40)), spread(range(50, 70)))
    assert result.verdict == "not judged"
    assert "not kind from kind" in result.found


def test_of_few_features_nothing_is_said(monkeypatch):
    assert contrasted(monkeypatch, spread(range(20)), spread(range(50, 55)), spread(range(20))).verdict == "not judged"


def test_dense_features_count_and_the_share_without_them_is_told(monkeypatch):
    dense = set(range(90, 98))
    texts = [spread(*[{*part, *dense} for part in parts]) for parts in (((0, 1), (2, 3)), ((4, 5), (6, 7)))]
    result = contrasted(monkeypatch, *texts, texts[0])
    assert result.figures["dense"] == 8
    assert (result.figures["share"], result.figures["share_without_dense"]) == (8 / 12, 0.0)
    assert result.verdict == "fail"


def test_faint_firing_does_not_count_where_the_maximum_is_known(monkeypatch):
    class Known(Labels):
        def get(self, feature):
            return Label("x", frequency=0.001, max_activation=10.0 if feature < 10 else 1.0)

    story = spread(range(30))
    found = contrasted(monkeypatch, story, spread([*range(10), *range(50, 70)]), story, Known())
    assert (found.figures["story"], found.figures["both"], found.verdict) == (20, 0, "pass")
    without = contrasted(monkeypatch, story, spread([*range(10), *range(50, 70)]), story)
    assert (without.figures["story"], without.figures["both"]) == (30, 10)


def test_texts_are_cut_to_the_same_number_of_tokens(monkeypatch):
    long = spread(*[[n] for n in range(60)])
    result = contrasted(monkeypatch, long, spread(*[[n] for n in range(70, 90)]), long)
    assert (result.figures["story"], result.figures["program"]) == (20, 20)


def test_what_is_read_is_what_the_tracer_reads(small):
    read_here = read(small, tiny.PROMPT)
    trace = small.run(tiny.PROMPT, max_tokens=1, temperature=0)
    steps = [step for step in trace if not step.special and not step.generated]
    assert [r.ids for [r] in read_here] == [[f.id for f in step.features] for step in steps]
    assert len(read(small, tiny.PROMPT * 20)) == tiny.CONTEXT - 1  # BOS is not shown


# 2: repeats


def test_a_model_as_it_is_repeats_itself_to_the_last_bit(small):
    result = running.repeats(small, quiet)
    assert (result.verdict, result.figures["largest_difference"]) == ("pass", 0.0)
    assert result.figures["activations"] > 100


def shaken(monkeypatch, tracer, size):
    """Have everything the SAE reads be a little different each time."""
    reader, generator = tracer.readers[0], torch.Generator().manual_seed(0)
    prepare = reader.prepare
    monkeypatch.setattr(reader, "prepare", lambda x: prepare(x) * (1 + size * torch.rand(x.shape, generator=generator)))


def test_a_model_that_is_never_the_same_fails(small, monkeypatch):
    shaken(monkeypatch, small, 0.1)
    result = running.repeats(small, quiet)
    assert result.verdict == "fail"
    assert "fire in one run alone" in result.found


def test_activations_may_differ_by_a_rounding_error_and_no_more(small, monkeypatch):
    runs = [small.run(tiny.PROMPT, temperature=0, max_tokens=3) for _ in range(3)]

    def off_by(share):
        step = runs[2][2]
        first = step.features[0]
        features = (first._replace(activation=first.activation * (1 + share)), *step.features[1:])
        steps = [dataclasses.replace(step, features=features) if s is step else s for s in runs[2]]
        told = iter([*runs[:2], Trace(runs[2].origin, steps)])
        monkeypatch.setattr(small, "run", lambda *_, **__: next(told))
        return running.repeats(small, quiet)

    assert off_by(1e-6).verdict == "pass"
    assert off_by(1e-6).figures["largest_difference"] == pytest.approx(1e-6, rel=0.01)
    assert off_by(1e-3).verdict == "fail"
    assert off_by(math.nan).verdict == "fail"


def test_another_text_the_next_time_fails(small, monkeypatch):
    runs = iter([small.run(prompt, temperature=0, max_tokens=3) for prompt in ("the cat", "the cat", "the dog")])
    monkeypatch.setattr(small, "run", lambda *_, **__: next(runs))
    result = running.repeats(small, quiet)
    assert result.verdict == "fail"
    assert "another one the next time" in result.found


# 3: length


def test_the_tokens_asked_for_are_written(small):
    result = running.length(small, quiet, tokens=4)
    assert (result.verdict, result.figures["written"], result.figures["finish"]) == ("pass", 4, "length")


def test_a_short_context_is_filled_and_that_is_said(small, monkeypatch):
    monkeypatch.setattr(running, "PROMPT", tiny.PROMPT)
    result = running.length(small, quiet, tokens=500)
    assert (result.verdict, result.figures["finish"]) == ("pass", "context")
    assert f"fill the context of {tiny.CONTEXT}" in result.found
    assert 20 < result.figures["written"] < tiny.CONTEXT


def test_a_run_goes_on_behind_the_end_of_a_text(small, monkeypatch):
    monkeypatch.setattr(running, "PROMPT", tiny.PROMPT)
    usual = small.run(tiny.PROMPT, max_tokens=20, seed=0)
    monkeypatch.setattr(small._loop, "_eos", {usual[-18].token_id})
    result = running.length(small, quiet, tokens=15)
    assert result.figures["ends_of_text"] >= 1
    assert (result.verdict, result.figures["written"]) == ("pass", 15)


def test_a_sliding_window_that_was_passed_is_told_of(pair, monkeypatch):
    monkeypatch.setattr(running, "PROMPT", tiny.PROMPT)
    result = running.length(pair("mistral", HOOK)[0], quiet, tokens=12)
    assert result.verdict == "pass"
    assert f"sliding window of {tiny.WINDOW}" in result.found


def test_a_run_that_stops_on_the_way_fails(small, monkeypatch):
    monkeypatch.setattr(running, "PROMPT", tiny.PROMPT)
    monkeypatch.setattr(small._loop, "_context", 30)
    assert running.length(small, quiet, tokens=500).verdict == "fail"


def test_many_problems_are_counted_and_not_all_told(small, monkeypatch):
    monkeypatch.setattr(running, "PROMPT", tiny.PROMPT)
    monkeypatch.setattr(running, "problems", lambda *_: [f"Problem {n}." for n in range(500)])
    result = running.length(small, quiet, tokens=3)
    assert (result.verdict, result.figures["problems"]) == ("fail", 500)
    assert result.found.endswith("Problem 0.")
    assert result.details[-1] == "There are 495 more such problems."
    assert len(result.details) == 5


def test_a_text_that_ends_at_once_and_one_of_special_tokens_alone_are_whole(small, monkeypatch):
    monkeypatch.setattr(small._loop, "_eos", set(range(1000)))
    assert running._edge(small, tiny.END, quiet, "x") == (True, "2 tokens, 0 features on each")
    monkeypatch.setattr(small.vocabulary, "special", set(range(1000)))
    monkeypatch.setattr(running, "problems", lambda *_: [])
    assert running._edge(small, tiny.END, quiet, "x") == (True, "2 tokens, 0 features on each")


@pytest.fixture
def whole(small):
    return small, small.run(tiny.PROMPT, max_tokens=4, seed=1)


def swapped(step):
    first, second, *rest = step.features
    return {"features": (second, first, *rest)}


BREAKS = {
    "it is numbered": lambda s: {"position": 7},
    "no token": lambda s: {"token_id": 10**6},
    "SAEs were read": lambda s: {"fits": ()},
    "no such feature": lambda s: {"features": (s.features[0]._replace(id=tiny.FEATURES), *s.features[1:])},
    "stands twice": lambda s: {"features": (s.features[0], *s.features)},
    "is of no SAE": lambda s: {"features": (*s.features, s.features[0]._replace(sae=3))},
    "is not finite, or 0": lambda s: {"features": (s.features[0]._replace(activation=math.nan), *s.features[1:])},
    "strongest first": swapped,
    "sees it is not finite": lambda s: {"fits": (Fit(math.inf, 0.5, s.l0),)},
    "are counted": lambda s: {"fits": (Fit(0.5, 0.5, s.l0 + 1),)},
    "its probability is not finite": lambda s: {"logprob": None},
    "add up to": lambda s: {"alternatives": tuple(Alternative("x", -i, 0.6) for i in (1, 2))},
    "does not agree": lambda s: {"logprob": -1e-9, "alternatives": (Alternative("x", -1, 0.0005),)},
    "do not make the decoded text": lambda s: {"token": "something else"},
}


@pytest.mark.parametrize("said", BREAKS)
def test_a_broken_step_is_found(whole, said):
    tracer, trace = whole
    assert problems(tracer, trace) == []
    step = trace[3]
    steps = [dataclasses.replace(s, **BREAKS[said](s)) if s is step else s for s in trace]
    assert any(said in problem for problem in problems(tracer, Trace(trace.origin, steps)))


def test_features_of_a_special_token_are_found(whole):
    tracer, trace = whole
    steps = [dataclasses.replace(s, features=trace[3].features) if s.special else s for s in trace]
    assert any("was not read" in problem for problem in problems(tracer, Trace(trace.origin, steps)))


def test_a_silent_sae_is_found(whole):
    tracer, trace = whole
    steps = [dataclasses.replace(s, features=(), fits=(Fit(0.5, 0.5, 0),) if s.fits else ()) for s in trace]
    silent = problems(tracer, Trace(trace.origin, steps))
    assert len(silent) == 1
    assert f"no feature on {len(trace) - 1} of {len(trace) - 1}" in silent[0]
    assert problems(tracer, Trace()) == ["The trace is empty."]


# 4: speed


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(speed, "ROUNDS", 2)
    monkeypatch.setattr(speed, "TOKENS", 3)


def test_a_token_is_timed_beside_the_plain_loop(tracer, brief, monkeypatch):
    monkeypatch.setattr(speed, "MOST", 1000.0)  # how fast this machine is, is another matter
    result = speed.check(tracer, quiet)
    assert result.verdict == "pass"
    figures = result.figures
    assert len(figures["rounds"]) == 2
    assert figures["rounds"][0] <= figures["ratio"] <= figures["rounds"][-1]
    assert f"{figures['ms']['ours']:.1f} ms a token" in result.found


def test_the_plain_loop_and_ours_write_what_generate_does(tracer, plain):
    ids = tracer.vocabulary.encode(speed.PROMPT, 256)
    expected = plain.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=6)[0, len(ids) :].tolist()
    assert list(itertools.islice(speed.plain_loop(plain, ids), 6)) == expected
    assert [step.token_id for step in speed.our_loop(tracer, speed.PROMPT, 6)] == expected


def test_a_slow_loop_fails(tracer, brief, monkeypatch):
    ours = speed.our_loop

    def slowly(*arguments):
        for step in ours(*arguments):
            time.sleep(0.3)
            yield step

    monkeypatch.setattr(speed, "our_loop", slowly)
    result = speed.check(tracer, quiet)
    assert result.verdict == "fail"
    assert result.figures["ratio"] > result.figures["most"] == 2.0


def test_other_tokens_than_the_plain_loops_fail(tracer, brief, monkeypatch):
    plain = speed.plain_loop
    monkeypatch.setattr(speed, "plain_loop", lambda *of: (token + 1 for token in plain(*of)))
    result = speed.check(tracer, quiet)
    assert result.verdict == "fail"
    assert "another token as number 1" in result.found


def test_a_tie_is_no_other_token(whole):
    step = whole[1][3]
    tied = dataclasses.replace(step, token_id=1, alternatives=(Alternative("a", 1, 0.3), Alternative("b", 2, 0.295)))
    assert speed._other([2, 9], [tied, step]) == ""
    clear = dataclasses.replace(tied, alternatives=(Alternative("a", 1, 0.4), Alternative("b", 2, 0.295)))
    assert "number 1" in speed._other([2, 9], [clear, step])


def test_a_context_too_short_to_time_is_not_judged(small):
    result = speed.check(small, quiet)
    assert result.verdict == "not judged"
    assert str(tiny.CONTEXT) in result.found


def test_a_text_that_ends_at_once_is_not_judged(tracer, brief, monkeypatch):
    ours = speed.our_loop
    monkeypatch.setattr(speed, "our_loop", lambda *of: itertools.islice(ours(*of), 2))
    assert speed.check(tracer, quiet).verdict == "not judged"


# 5: edges


def test_odd_prompts_give_a_trace_or_a_sentence(tracer):
    result = running.edges(tracer, quiet)
    assert result.verdict == "pass"
    told = {name: figures["told"] for name, figures in result.figures.items()}
    assert all("features on each" in told[name] for name in ("one token", "mathematics", "code", "emoji", "Chinese"))
    assert "prompt is empty" in told["nothing"]
    assert "6 of 8 give a whole trace, 2 a clear sentence." in result.found


def test_a_crash_and_a_silent_refusal_fail(small, monkeypatch):
    encode = small.vocabulary.encode

    def broken(text, context):
        if "😀" in text:
            raise IndexError("list index out of range")
        if "今" in text:
            raise ValueError(" ")
        return encode(text, context)

    monkeypatch.setattr(small.vocabulary, "encode", broken)
    result = running.edges(small, quiet)
    assert result.verdict == "fail"
    assert result.found.endswith("2 fail: emoji, Chinese.")
    assert "IndexError" in result.figures["emoji"]["told"]


def test_a_mistake_on_the_way_is_no_clear_sentence(small, monkeypatch):
    def broken(*_):
        raise ValueError("not enough values to unpack")

    monkeypatch.setattr(small.passes, "forward", broken)
    result = running.edges(small, quiet)
    assert result.verdict == "fail"
    assert not result.figures["one token"]["good"]
    assert result.figures["nothing"]["good"]


# all of them


def test_numbers_that_are_none_fail_and_end_nothing(small, monkeypatch):
    reader = small.readers[0]
    prepare = reader.prepare
    monkeypatch.setattr(reader, "prepare", lambda x: prepare(x) * math.nan)
    results = list(axon_widget.check(small, tokens=3))
    assert [result.name for result in results] == list(checks.NAMES)
    verdicts = {result.name: result.verdict for result in results}
    assert verdicts["repeats"] == verdicts["length"] == verdicts["edges"] == "fail"
    assert "pass" not in verdicts.values()
    assert "It broke: RuntimeError" in str(results[1])


def test_all_of_a_model_without_labels(small):
    said = []
    results = {result.name: result for result in axon_widget.check(small, 3, said.append)}
    assert {name: result.verdict for name, result in results.items()} == {
        "topics": "not judged",
        "repeats": "pass",
        "length": "pass",
        "speed": "not judged",
        "edges": "pass",
        "contrast": results["contrast"].verdict,
    }
    assert "3 of 6, length: 3 of 3 tokens" in said


def test_an_interrupt_is_no_failed_check(small, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "repeats", interrupted)
    results = axon_widget.check(small, 3)
    assert next(results).name == "topics"
    with pytest.raises(KeyboardInterrupt):
        next(results)


def test_a_bad_number_of_tokens_is_told_at_once(small):
    with pytest.raises(ValueError, match="tokens=0"):
        axon_widget.check(small, 0)


def test_the_worst_of_several_saes_is_told():
    made = [Result("x", verdict, "Why.") for verdict in ("pass", "fail", "not judged")]
    whole = together("x", ["a", "b", "c"], made, "all")
    assert (whole.verdict, whole.found) == ("fail", "Of 3 SAEs: 1 failed, 1 not judged, 1 passed.")
    assert whole.details[1] == "b: fail. Why."
    assert together("x", ["a"], made[:1], "all") is made[0]
