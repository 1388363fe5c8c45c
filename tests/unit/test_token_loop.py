"""The token loop against transformers' own `generate` and log_softmax on the embedded and a tiny random model."""

import dataclasses

import pytest
import torch

from axon_widget.engine.sampling import Sampling
from axon_widget.engine.tracer import Tracer
from axon_widget.trace import Trace
from tests.unit import tiny

PROMPT = "Once upon a time, there was a little"


@pytest.fixture(scope="module")
def tiny_tracer(tiny_model, tmp_path_factory):
    sae = tiny.save_sae(tmp_path_factory.mktemp("sae"), "blocks.1.hook_resid_pre")
    return Tracer.load(str(tiny_model), sae)


@pytest.fixture
def endless(tiny_tracer, monkeypatch):
    """The tiny model, none of its tokens ending a text."""
    monkeypatch.setattr(tiny_tracer._loop, "_eos", set())
    return tiny_tracer


def ids_of(trace):
    return [step.token_id for step in trace]


def encoded(tracer, text):
    return tracer.vocabulary.encode(text, tracer.model.context)


def without_times(trace):
    return [dataclasses.replace(step, milliseconds=0.0) for step in trace]


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_tokens_are_those_of_generate(tracer, plain, tokenizer, penalty):
    ids = torch.tensor([tokenizer(PROMPT)["input_ids"]])
    expected = plain.generate(ids, do_sample=False, max_new_tokens=50, repetition_penalty=penalty)[0].tolist()
    trace = tracer.run(PROMPT, temperature=0, max_tokens=50, repetition_penalty=penalty)
    assert ids_of(trace) == expected
    assert len(expected) > len(ids[0]) + 30


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_tokens_of_a_layernorm_model_are_those_of_generate(endless, penalty):
    ids = torch.tensor([encoded(endless, tiny.PROMPT)])
    expected = endless.model.plain.generate(
        ids,
        attention_mask=torch.ones_like(ids),  # or `generate` takes the BOS for padding
        do_sample=False,
        max_new_tokens=20,
        repetition_penalty=penalty,
        eos_token_id=-1,
    )
    trace = endless.run(tiny.PROMPT, temperature=0, max_tokens=20, repetition_penalty=penalty)
    assert ids_of(trace) == expected[0].tolist()


def test_log_probabilities_and_alternatives_are_the_models_own(tracer, plain):
    trace = tracer.run(f"{PROMPT} parliament, whose budget", temperature=0.9, max_tokens=40, seed=4)
    with torch.inference_mode():
        expected = plain(torch.tensor([ids_of(trace)])).logits[0].double().log_softmax(-1)
    assert trace[0].logprob is None
    assert trace[0].alternatives == ()
    for before, step in zip(expected[:-1], trace[1:], strict=True):
        assert step.logprob == pytest.approx(float(before[step.token_id]), abs=1e-3)
        top = before.topk(5)
        assert [a.probability for a in step.alternatives] == pytest.approx(top.values.exp().tolist(), abs=1e-4)
        assert [a.token_id for a in step.alternatives] == top.indices.tolist()
        own = before[step.token_id]  # of tokens that are almost as likely either may be first
        assert int((before > own + 1e-3).sum()) < step.rank <= int((before >= own - 1e-3).sum())
    assert trace[0].rank is None
    assert min(step.rank for step in trace[1:]) == 1
    assert max(step.rank for step in trace[1:]) > 100


def test_alternatives_are_named_by_their_own_text(tracer, tokenizer):
    step = tracer.run(PROMPT, temperature=0, max_tokens=1)[-1]
    first = step.alternatives[0]
    assert (first.token, first.token_id) == (" girl", tokenizer.convert_tokens_to_ids("▁girl"))


def test_the_same_seed_gives_the_same_trace(tracer):
    one, two, other = (tracer.run(PROMPT, temperature=1, max_tokens=25, seed=seed) for seed in (7, 7, 8))
    assert without_times(one) == without_times(two)
    assert one.origin == two.origin
    assert ids_of(one) != ids_of(other)


def test_a_seed_is_drawn_and_named_where_none_is_given(tracer):
    first, second = (tracer.run(PROMPT, temperature=1.5, max_tokens=20) for _ in range(2))
    assert first.origin.seed != second.origin.seed
    again = tracer.run(PROMPT, temperature=1.5, max_tokens=20, seed=first.origin.seed)
    assert ids_of(again) == ids_of(first)


def test_steps_are_numbered_and_the_prompt_comes_first(tracer, tokenizer):
    trace = tracer.run(PROMPT, temperature=0, max_tokens=4)
    prompt = tokenizer(PROMPT)["input_ids"]
    assert [step.step for step in trace] == list(range(len(prompt) + 4))
    assert [step.position for step in trace] == list(range(len(prompt) + 4))
    assert [step.generated for step in trace] == [False] * len(prompt) + [True] * 4
    assert ids_of(trace)[: len(prompt)] == prompt
    assert all(step.milliseconds > 0 for step in trace)
    assert trace.finish == "length"
    assert trace.origin.prompt == PROMPT
    assert trace.generated == " girl named Lily."[: len(trace.generated)]


def test_each_step_stands_in_the_trace_when_it_is_given_out(tracer):
    trace = Trace()
    for n, step in enumerate(tracer.stream(PROMPT, temperature=0, max_tokens=3, trace=trace)):
        assert len(trace) == n + 1
        assert trace[n] is step


def test_a_trace_that_holds_a_run_is_not_written_over(tracer):
    trace = tracer.run(PROMPT, temperature=0, max_tokens=2)
    before = trace.to_json()
    with pytest.raises(ValueError, match=r"run in this trace.*resume"):
        tracer.stream(PROMPT, trace=trace)
    assert trace.to_json() == before


def test_the_prompt_takes_one_pass_and_each_token_one_more(tracer, monkeypatch):
    lengths = []
    forward = tracer.model.forward

    def counting(ids, cache, hooks):
        lengths.append(ids.shape[1])
        return forward(ids, cache, hooks)

    monkeypatch.setattr(tracer.model, "forward", counting)
    trace = tracer.run(PROMPT, temperature=0, max_tokens=6)
    assert lengths == [len(trace) - 6, 1, 1, 1, 1, 1, 1]


def test_end_of_text_ends_a_run(tracer, plain, tokenizer):
    ids = torch.tensor([tokenizer(PROMPT)["input_ids"]])
    expected = plain.generate(ids, do_sample=False, max_length=256)[0].tolist()
    trace = tracer.run(PROMPT, temperature=0, repetition_penalty=1, max_tokens=250)
    assert trace.finish == "eos"
    assert ids_of(trace) == expected
    assert trace[-1].special
    assert (trace[-1].token, trace[-1].features) == ("", ())
    assert trace[-1].logprob is not None
    assert len(trace) < tracer.model.context


def test_any_of_several_ends_ends_a_run(endless):
    usual = endless.run(tiny.PROMPT, temperature=0, max_tokens=10)
    third = usual[-8].token_id
    first = [step.token_id for step in usual if step.generated].index(third)
    endless._loop._eos = {third, 10**6}
    trace = endless.run(tiny.PROMPT, temperature=0, max_tokens=10)
    assert trace.finish == "eos"
    assert ids_of(trace) == ids_of(usual)[: len(usual) - 10 + first + 1]


def test_the_end_of_the_context_ends_a_run(endless):
    trace = endless.run(tiny.PROMPT, max_tokens=500, seed=0)
    assert trace.finish == "context"
    assert len(trace) == tiny.CONTEXT


def test_a_prompt_as_long_as_the_context_is_read_and_not_written_on(endless):
    word = endless.vocabulary.tokenizer.decode(encoded(endless, "the cat")[1:2])
    prompt = word * (tiny.CONTEXT - 1)
    assert len(encoded(endless, prompt)) == tiny.CONTEXT
    trace = endless.run(prompt, max_tokens=5)
    assert (trace.finish, len(trace)) == ("context", tiny.CONTEXT)
    assert not any(step.generated for step in trace)
    with pytest.raises(ValueError, match=f"{tiny.CONTEXT + 1} tokens.*at most {tiny.CONTEXT}"):
        endless.stream(prompt + word)


@pytest.mark.parametrize("prompt", ["", " ", "\n\t  "])
def test_a_blank_prompt_is_refused_before_the_first_step(tracer, prompt):
    with pytest.raises(ValueError, match="prompt is empty"):
        tracer.stream(prompt)


def test_stop_ends_a_run_after_the_token_under_way(tracer):
    trace = Trace()
    for step in tracer.stream(
        PROMPT, temperature=0, max_tokens=30, trace=trace, stop=lambda: len(trace) and trace[-1].position >= 12
    ):
        last = step
    assert (trace.finish, last.position, len(trace)) == ("stopped", 12, 13)


def test_leaving_the_loop_early_ends_a_run(tracer):
    trace = Trace()
    steps = tracer.stream(PROMPT, temperature=0, max_tokens=30, trace=trace)
    while not next(steps).generated:
        pass
    steps.close()
    length = len(trace)
    assert trace.finish == "stopped"
    assert tracer.run(PROMPT, temperature=0, max_tokens=2).finish == "length"
    assert len(trace) == length


def test_two_runs_may_take_turns(tracer):
    alone = without_times(tracer.run(PROMPT, temperature=1, max_tokens=8, seed=3))
    one = tracer.stream(PROMPT, temperature=1, max_tokens=8, seed=3)
    two = tracer.stream("Tom had a dog", temperature=1, max_tokens=30, seed=9)
    together = [step for step, _other in zip(one, two, strict=False)]
    assert without_times(together) == alone[: len(together)]
    assert len(together) == len(alone)


def test_a_setting_changed_on_the_way_holds_from_the_next_token(tracer):
    settings = Sampling(temperature=0, repetition_penalty=1, max_tokens=30)
    greedy = tracer.run(PROMPT, settings)
    trace, current = Trace(), [settings]
    for step in tracer.stream(PROMPT, lambda: current[0], seed=5, trace=trace):
        if step.position == 15:
            current[0] = Sampling(temperature=2, top_k=0, top_p=1, repetition_penalty=1, max_tokens=12)
    assert ids_of(trace)[:16] == ids_of(greedy)[:16]
    assert ids_of(trace)[16:] != ids_of(greedy)[16 : len(trace)]
    assert sum(step.generated for step in trace) == 12


def test_settings_come_one_way_only(tracer):
    with pytest.raises(ValueError, match="not both"):
        tracer.stream(PROMPT, Sampling(), temperature=1)
    with pytest.raises(TypeError, match="warmth"):
        tracer.stream(PROMPT, warmth=1)


def test_logits_that_are_not_finite_are_an_error_and_not_a_token(endless, monkeypatch):
    forward = endless.model.forward

    def broken(ids, cache, hooks):
        logits, cache = forward(ids, cache, hooks)
        return (logits * float("nan") if ids.shape[1] == 1 else logits), cache

    monkeypatch.setattr(endless.model, "forward", broken)
    trace = Trace()
    with pytest.raises(RuntimeError, match="not finite"):
        for _ in endless.stream(tiny.PROMPT, max_tokens=9, trace=trace):
            pass
    assert trace.finish == "error"
    assert sum(step.generated for step in trace) == 1


def test_settings_changed_on_the_way_are_recorded(tracer):
    trace = Trace()
    now = Sampling(temperature=0.8, max_tokens=50)
    steps = tracer.stream(PROMPT, lambda: now, seed=3, trace=trace)
    for step in steps:
        if step.step == 20:
            now = Sampling(temperature=1.5, top_k=7, max_tokens=50)
        if step.step == 24:
            now = Sampling(temperature=1.5, top_k=7, max_tokens=1)
    assert trace.origin.sampling == dataclasses.asdict(Sampling(temperature=0.8, max_tokens=50))
    assert trace.changes == {21: {"temperature": 1.5, "top_k": 7}, 25: {"max_tokens": 1}}
    assert len(trace) == 25
    assert trace.finish == "length"
    assert Trace.from_json(trace.to_json()) == trace


def test_names_of_special_tokens_in_a_prompt_stand_for_them(tracer):
    trace = tracer.run("Tom ran.</s> He", max_tokens=1, temperature=0)
    [end] = [step for step in trace if step.special and step.step]
    assert end.token_id == 2
    assert end.features == ()
    assert end.token == ""
