"""Branches of a run, against transformers' own `generate` and the reference that runs every text whole."""

import dataclasses
import gc

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from axon_widget.trace import Feature, Fit, Origin, SAEOrigin, Steer, Steering, TokenStep, Trace
from tests.unit import tiny
from tests.unit.reference import PLAIN, counted

HOOK = "blocks.1.hook_resid_pre"
GREEDY = {"temperature": 0, "repetition_penalty": 1}
STEERING = Steering((Steer(0, 4, 5.0), Steer(0, 11, 0.0), Steer(0, 50, 2.5, scale=True)))
OTHER = Steering((Steer(0, 20, -4.0),))
FORK = 13
WINDOWS = ["mistral", "gemma2"]


def ids_of(trace):
    return [step.token_id for step in trace]


def go_on(tracer, trace, token=None, **settings):
    """Write on to the end and give the trace."""
    steps = list(tracer.resume(trace, token, **{**GREEDY, **settings}))
    assert steps == trace[len(trace) - len(steps) :]
    return trace


def without_times(trace):
    return [dataclasses.replace(step, milliseconds=0.0) for step in trace]


def assert_same(found, expected):
    """Compare two runs: tokens and text exactly, numbers as well as another shape of matrix product allows."""
    assert ids_of(found) == ids_of(expected)
    # One of them may have ended within a character, which it then gave out as the replacement character.
    text, wanted = ("".join(step.token for step in run).rstrip("\ufffd") for run in (found, expected))
    assert text == wanted
    for mine, its in zip(found, expected, strict=True):
        assert mine.logprob == (None if its.logprob is None else pytest.approx(its.logprob, abs=1e-4))
        assert [f.id for f in mine.features] == [f.id for f in its.features]
        assert [f.activation for f in mine.features] == pytest.approx([f.activation for f in its.features], abs=1e-4)


def assert_read(trace, reference, steering=PLAIN, since=1):
    """Compare log-probabilities and features from a step on with the plain model over the whole text."""
    run = reference.run(ids_of(trace), steering)
    logprobs = run.logits.log_softmax(-1)
    for step in trace[since:]:
        assert step.logprob == pytest.approx(float(logprobs[step.step - 1, step.token_id]), abs=1e-4)
        expected = reference.take(0, run.read[0][step.step]).activations
        found = {f.id: f.activation for f in step.features}
        assert found == pytest.approx({int(i): float(expected[i]) for i in expected.nonzero()}, abs=1e-4)


def push_out(tracer):
    """Write so many other runs, and hold them, that the caches of those before are gone."""
    return [tracer.run(tiny.PROMPT, max_tokens=1, seed=seed) for seed in range(6)]


@pytest.fixture(scope="module")
def gpt2(pair):
    return pair("gpt2", HOOK)


@pytest.fixture
def parent(gpt2):
    return gpt2[0].run(tiny.PROMPT, max_tokens=15, **GREEDY)


def test_a_branch_shares_its_parents_steps(parent):
    branch = parent.branch(FORK)
    assert len(branch) == FORK
    assert all(mine is its for mine, its in zip(branch, parent, strict=False))
    assert (branch.fork, branch.parent, branch.finish) == (FORK, parent, "")
    assert branch.origin == parent.origin
    assert branch.key is not parent.key
    assert (parent.fork, parent.parent, len(parent)) == (None, None, 22)


@pytest.mark.parametrize("fork", [1, 2, 6, 7, FORK, 21, 22])
def test_a_greedy_branch_goes_on_as_the_text_does(gpt2, parent, fork):
    tracer, reference = gpt2
    branch = go_on(tracer, parent.branch(fork), max_tokens=24 - fork)
    ids, _ = reference.greedy(ids_of(parent)[:fork], 24 - fork)
    assert ids_of(branch) == ids
    assert_read(branch, reference)
    if fork >= 7:
        assert_same(branch[:22], parent)
    assert [step.generated for step in branch] == [False] * min(fork, 7) + [True] * (24 - min(fork, 7))
    assert [step.step for step in branch] == [step.position for step in branch] == list(range(24))
    assert branch.finish == "length"
    assert all(step.milliseconds > 0 for step in branch)


@pytest.mark.parametrize("by", ["text", "id"])
def test_another_token_in_its_place_leads_where_generate_leads(gpt2, parent, family, by):
    tracer, reference = gpt2
    alternative = next(a for a in parent[FORK].alternatives[1:] if "\ufffd" not in a.token)
    token = alternative.token if by == "text" else alternative.token_id
    branch = go_on(tracer, parent.branch(FORK), token, max_tokens=9)
    start = [*ids_of(parent)[:FORK], alternative.token_id]
    ids = torch.tensor([start])
    model = AutoModelForCausalLM.from_pretrained(family("gpt2")).eval()
    expected = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=8, eos_token_id=-1
    )
    assert ids_of(branch) == expected[0].tolist()
    assert branch[FORK].generated
    assert [a.token_id for a in branch[FORK].alternatives] == [a.token_id for a in parent[FORK].alternatives]
    assert_read(branch, reference)


def test_a_token_that_was_put_in_is_told(gpt2, parent):
    tracer, _ = gpt2
    chosen = go_on(tracer, parent.branch(FORK), max_tokens=3)
    forced = go_on(tracer, parent.branch(FORK), " cat", max_tokens=3)
    assert (chosen.put_in, forced.put_in) == (None, " cat")
    go_on(tracer, forced, max_tokens=2)
    go_on(tracer, chosen, " cat", max_tokens=2)
    assert (chosen.put_in, forced.put_in) == (None, " cat")  # at the fork
    assert forced.branch(FORK + 1).put_in is None
    assert parent.put_in is None


def test_the_embedded_models_story_goes_another_way(tracer, plain, tokenizer):
    story = tracer.run("Once upon a time, there was a little", max_tokens=12, **GREEDY)
    place = next(step.step for step in story if step.token == " girl")
    branch = go_on(tracer, story.branch(place), " boy", max_tokens=15)
    ids = torch.tensor([[*ids_of(story)[:place], tokenizer.convert_tokens_to_ids("▁boy")]])
    assert ids_of(branch) == plain.generate(ids, do_sample=False, max_new_tokens=14)[0].tolist()
    assert branch.text.startswith("Once upon a time, there was a little boy named")
    assert branch.text == tokenizer.decode(ids_of(branch), skip_special_tokens=True)


def test_the_common_part_is_not_run_again(gpt2, parent):
    tracer, _ = gpt2
    with counted(tracer) as lengths:
        branch = go_on(tracer, parent.branch(FORK), max_tokens=4)
    assert lengths == [1] * 5  # the last token they share, which the new ones follow, and those
    with counted(tracer) as lengths:
        go_on(tracer, parent.branch(20), 50, max_tokens=3)
        go_on(tracer, branch.branch(15), 51, max_tokens=3)  # beyond what it shares with its parent
        go_on(tracer, branch.branch(5), 52, max_tokens=3)  # of what it shares
    assert lengths == [1] * 12


@pytest.mark.parametrize("pushed", [False, True], ids=["cache kept", "cache gone"])
def test_many_branches_run_the_common_part_once_at_most(gpt2, pushed):
    tracer, _ = gpt2
    parent = tracer.run(tiny.PROMPT, max_tokens=8, **GREEDY)
    others = push_out(tracer) if pushed else []
    assert (parent.key in tracer.passes._caches) != bool(others)
    branches = [parent.branch(FORK) for _ in range(12)]
    with counted(tracer) as lengths:
        for branch in branches:
            go_on(tracer, branch, max_tokens=2)
    assert lengths == [FORK - 1] * pushed + [1] * 3 * len(branches)


@pytest.mark.parametrize("gone", ["pushed out", "from a file", "parent from a file"])
def test_without_the_parents_cache_a_branch_is_the_same(gpt2, parent, gone):
    tracer, _ = gpt2
    expected = go_on(tracer, parent.branch(FORK), 50, max_tokens=6)
    again = parent.branch(FORK)
    if gone == "pushed out":
        others = push_out(tracer)
        assert len(others) > len(tracer.passes._caches)
    elif gone == "from a file":
        again = Trace.from_json(again.to_json())
    else:
        again = Trace.from_json(parent.to_json()).branch(FORK)
    with counted(tracer) as lengths:
        go_on(tracer, again, 50, max_tokens=6)
    assert_same(again, expected)
    assert lengths == [FORK - 1] + [1] * 7


@pytest.mark.parametrize("pushed", [False, True], ids=["cache kept", "cache gone"])
def test_a_branch_of_a_branch(gpt2, parent, pushed):
    tracer, reference = gpt2
    child = go_on(tracer, parent.branch(FORK), 50, max_tokens=6)
    for fork in (FORK - 4, FORK, FORK + 1, FORK + 2, FORK + 6):
        others = push_out(tracer) if pushed else []
        assert not others or child.key not in tracer.passes._caches
        grandchild = go_on(tracer, child.branch(fork), 60, max_tokens=5)
        ids, _ = reference.greedy([*ids_of(child)[:fork], 60], 4)
        assert ids_of(grandchild) == ids
        assert_read(grandchild, reference)
        assert grandchild.parent is child
        assert grandchild.common(child) == fork


def held_before(place, before, after):
    return lambda position: before if position < place else after


@pytest.mark.parametrize("pushed", [False, True], ids=["cache kept", "cache gone"])
@pytest.mark.parametrize(
    ("first", "then"), [(STEERING, PLAIN), (PLAIN, STEERING), (STEERING, OTHER), (STEERING, STEERING)]
)
def test_what_a_branch_shares_stays_as_it_was_read(gpt2, first, then, pushed):
    tracer, reference = gpt2
    parent = tracer.run(tiny.PROMPT, max_tokens=15, steering=first, **GREEDY)
    child = go_on(tracer, parent.branch(FORK), max_tokens=6, steering=then)
    # The last token they share is read again under the new steering, so that the very next one follows it.
    at = held_before(FORK - 1, first, then)
    assert_read(child, reference, at, since=FORK)
    ids, _ = reference.greedy(ids_of(parent)[:FORK], 6, at)
    assert ids_of(child) == ids
    assert child[FORK - 1] is parent[FORK - 1]
    # Whatever needs the child's past later finds it as it was, with its cache or without.
    for fork in (FORK - 2, FORK, FORK + 1, FORK + 3):
        others = push_out(tracer) if pushed else []
        if others:
            go_on(tracer, parent, max_tokens=1, steering=first)  # the parent's cache is kept again, the child's is not
            assert {parent.key, child.key} & set(tracer.passes._caches) == {parent.key}
        grandchild = go_on(tracer, child.branch(fork), 60, max_tokens=4, steering=then)
        start = min(fork, FORK) - 1
        ids, logprobs = reference.greedy([*ids_of(child)[:fork], 60], 3, held_before(start, first, then))
        assert ids_of(grandchild) == ids
        assert [step.logprob for step in grandchild[-3:]] == pytest.approx(logprobs, abs=1e-4)


@pytest.mark.parametrize("pushed", [False, True], ids=["cache kept", "cache gone"])
def test_a_branch_is_explained_as_it_was_read(gpt2, pushed):
    tracer, reference = gpt2
    parent = tracer.run(tiny.PROMPT, max_tokens=15, **GREEDY)
    child = go_on(tracer, parent.branch(FORK), max_tokens=5, steering=STEERING)
    others = push_out(tracer) if pushed else []
    if others:
        go_on(tracer, parent, max_tokens=1)
    at = held_before(FORK - 1, PLAIN, STEERING)
    for step in (FORK - 1, FORK, FORK + 1, FORK + 2, len(child)):
        table = tracer.why(child, step)
        token = table.attrs["token_id"]
        ids = ids_of(child)[:step]
        whole = reference.logprob(ids, token, at)
        assert table.attrs["logprob"] == pytest.approx(whole, abs=1e-4)
        if step < len(child):
            assert table.attrs["logprob"] == pytest.approx(child[step].logprob, abs=1e-4)
        apart = reference.apart(0, ids, at)
        strongest = int(apart.activations.argmax())
        lost = whole - reference.logprob(ids, token, at, minus=(0, apart.part(strongest)))
        assert float(table[table.id == strongest].exact.iloc[0]) == pytest.approx(lost, abs=1e-4)


def test_a_branch_leaves_its_parent_as_it_was(gpt2):
    tracer, reference = gpt2
    parent = tracer.run(tiny.PROMPT, max_tokens=15, **GREEDY)
    before = parent.to_json()
    for fork in (FORK, 18, 22):
        go_on(tracer, parent.branch(fork), 50, max_tokens=5, steering=STEERING)
    assert parent.to_json() == before
    with counted(tracer) as lengths:
        again = go_on(tracer, parent.branch(FORK), max_tokens=9)
        go_on(tracer, parent, max_tokens=3)
    assert lengths == [1] * 14
    assert_same(again, parent[:22])
    assert ids_of(parent) == reference.greedy(ids_of(parent)[:7], 18)[0]
    assert_read(parent, reference)


def test_a_branch_of_a_run_that_is_still_being_written(gpt2):
    tracer, _ = gpt2
    alone = tracer.run(tiny.PROMPT, max_tokens=15, **GREEDY)
    expected = go_on(tracer, alone.branch(FORK), 50, max_tokens=6)
    parent = Trace()
    steps = tracer.stream(tiny.PROMPT, max_tokens=15, trace=parent, **GREEDY)
    while len(parent) < FORK:
        next(steps)
    branch = parent.branch(FORK)
    other = tracer.resume(branch, 50, max_tokens=6, **GREEDY)
    for _ in range(6):
        next(other)
        next(steps)
    assert list(other) == []
    assert len(list(steps)) == 22 - FORK - 6
    assert_same(parent, alone)
    assert_same(branch, expected)


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("steering", [PLAIN, STEERING], ids=["plain", "steered"])
def test_branches_behind_a_sliding_window(pair, name, steering):
    tracer, reference = pair(name, HOOK)
    parent = tracer.run(tiny.PROMPT, max_tokens=15, steering=steering, **GREEDY)
    assert len(parent) > 2 * tiny.WINDOW
    for fork in (4, FORK, 22):
        child = go_on(tracer, parent.branch(fork), 50, max_tokens=6, steering=steering)
        assert ids_of(child) == reference.greedy([*ids_of(parent)[:fork], 50], 5, steering)[0]
        assert_read(child, reference, steering)
        grandchild = go_on(tracer, child.branch(fork + 2), max_tokens=5, steering=steering)
        assert_same(grandchild[: len(child)], child[: len(grandchild)])
    again = go_on(tracer, parent.branch(FORK), max_tokens=9, steering=steering)
    assert_same(again, parent)


def test_a_sliding_window_that_is_not_full_shares_its_cache(pair):
    tracer, _ = pair("mistral", HOOK)
    parent = tracer.run("the cat", max_tokens=3, **GREEDY)
    assert len(parent) < tiny.WINDOW
    with counted(tracer) as lengths:
        branch = go_on(tracer, parent.branch(4), max_tokens=2)
    assert lengths == [1, 1, 1]
    assert_same(branch, parent)


def test_branches_of_a_model_read_inside_its_blocks(pair):
    tracer, reference = pair("gpt2", "blocks.0.hook_mlp_out")
    parent = tracer.run(tiny.PROMPT, max_tokens=15, **GREEDY)
    child = go_on(tracer, parent.branch(FORK), 50, max_tokens=6, steering=STEERING)
    at = held_before(FORK - 1, PLAIN, STEERING)
    assert ids_of(child) == reference.greedy([*ids_of(parent)[:FORK], 50], 5, at)[0]
    assert_read(child, reference, at, since=FORK)
    assert_same(go_on(tracer, parent.branch(FORK), max_tokens=9), parent)


def test_a_run_can_go_on_itself(gpt2):
    tracer, _ = gpt2
    whole = tracer.run(tiny.PROMPT, max_tokens=15, **GREEDY)
    trace = tracer.run(tiny.PROMPT, max_tokens=4, **GREEDY)
    go_on(tracer, trace, max_tokens=11)
    assert_same(trace, whole)
    assert (trace.fork, trace.parent) == (None, None)


def test_a_run_stopped_within_its_prompt_can_go_on(gpt2):
    tracer, reference = gpt2
    trace = Trace()
    for _ in tracer.stream(tiny.PROMPT, trace=trace, stop=lambda: len(trace) == 4, **GREEDY):
        pass
    assert (len(trace), trace.finish) == (4, "stopped")
    go_on(tracer, trace, max_tokens=6)
    assert ids_of(trace) == reference.greedy(ids_of(trace)[:4], 6)[0]
    assert_read(trace, reference)


def test_a_branch_takes_other_settings(gpt2, parent):
    tracer, _ = gpt2
    before = parent.origin
    hot = {"temperature": 1.5, "top_k": 0, "top_p": 1}
    one, two, other = (go_on(tracer, parent.branch(FORK), seed=seed, max_tokens=8, **hot) for seed in (3, 3, 4))
    assert ids_of(one) == ids_of(two)
    assert ids_of(one) != ids_of(other)
    assert ids_of(one)[:FORK] == ids_of(other)[:FORK] == ids_of(parent)[:FORK]
    assert (one.changes[FORK]["seed"], one.changes[FORK]["temperature"]) == (3, 1.5)
    assert one.origin is parent.origin is before


def test_settings_and_steering_before_the_fork_go_with_a_branch(gpt2):
    tracer, _ = gpt2
    parent = tracer.run(tiny.PROMPT, max_tokens=15, **GREEDY)
    parent.changes = {9: {"top_k": 3}, FORK: {"top_k": 4}}
    parent.steering = {0: OTHER, FORK - 1: STEERING, FORK: PLAIN}
    branch = parent.branch(FORK)
    assert branch.changes == {9: {"top_k": 3}}
    assert branch.steering == {0: OTHER, FORK - 1: STEERING}
    branch.changes[9]["top_k"] = 5
    assert parent.changes[9] == {"top_k": 3}


def test_a_token_that_ends_the_text_ends_a_branch(tracer):
    parent = tracer.run("Tom had a red", max_tokens=6, **GREEDY)
    branch = go_on(tracer, parent.branch(7), "</s>", max_tokens=9)
    assert (branch.finish, len(branch)) == ("eos", 8)
    assert branch[-1].special
    assert (branch[-1].token, branch[-1].features) == ("", ())
    logprob = tracer.why(parent, 7, "</s>", exact=False).attrs["logprob"]
    assert branch[-1].logprob == pytest.approx(logprob, abs=1e-4)


def test_a_character_of_several_tokens_survives_a_fork(tracer, tokenizer):
    tokens = tokenizer.convert_tokens_to_ids(["<0xF0>", "<0x9F>", "<0x98>", "<0x80>"])
    said = tracer.run("Tom said", max_tokens=1, **GREEDY)
    place = len(said) - 1
    trace = said.branch(place)
    for token in tokens[:2]:
        go_on(tracer, trace, token, max_tokens=2)
        trace = trace.branch(len(trace) - 1)
    assert trace.text == "Tom said"
    for token in tokens[2:]:
        go_on(tracer, trace, token, max_tokens=2)
        trace = trace.branch(len(trace) - 1)
    assert trace.text == "Tom said😀"
    # Where a run ended within a character, the replacement character stands, once.
    broken = go_on(tracer, said.branch(place), tokens[0], max_tokens=1)
    assert broken.text == "Tom said\ufffd"
    go_on(tracer, broken, max_tokens=5)
    assert broken.text.count("\ufffd") == 1
    assert broken.text == tokenizer.decode(ids_of(broken), skip_special_tokens=True)


def test_a_branch_ends_at_the_contexts_end_or_where_it_is_stopped(gpt2, parent):
    tracer, _ = gpt2
    full = go_on(tracer, parent.branch(20), max_tokens=99)
    assert (full.finish, len(full)) == ("context", tiny.CONTEXT)
    assert list(tracer.resume(full.branch(tiny.CONTEXT))) == []
    stopped = parent.branch(20)
    for _ in tracer.resume(stopped, max_tokens=99, stop=lambda: len(stopped) == 24, **GREEDY):
        pass
    assert (stopped.finish, len(stopped)) == ("stopped", 24)


def test_tokens_are_counted_from_the_fork_on(gpt2, parent):
    tracer, _ = gpt2
    assert len(go_on(tracer, parent.branch(FORK), max_tokens=4)) == FORK + 4
    assert len(go_on(tracer, parent.branch(FORK), 50, max_tokens=4)) == FORK + 4


@pytest.mark.parametrize("fork", [0, -1, 23, 100])
def test_a_branch_from_nowhere_is_refused(parent, fork):
    with pytest.raises(ValueError, match=f"cannot begin at step {fork} of 22"):
        parent.branch(fork)


@pytest.mark.parametrize("token", ["the cat", "", "\u6c49", -1, 10**6])
def test_what_is_not_one_token_cannot_be_put_in(gpt2, parent, token):
    tracer, _ = gpt2
    branch = parent.branch(FORK)
    with pytest.raises(ValueError, match=r"is not one token|no token"):
        tracer.resume(branch, token)
    assert branch == parent.branch(FORK)


def test_a_run_of_another_model_cannot_go_on(gpt2, tracer, parent):
    with pytest.raises(ValueError, match="trace is of"):
        tracer.resume(parent.branch(FORK))
    with pytest.raises(ValueError, match="trace is empty"):
        gpt2[0].resume(Trace())


def test_a_run_that_cannot_be_this_models_is_refused(gpt2, parent):
    tracer, _ = gpt2
    strange = Trace(parent.origin, parent[:FORK])
    strange.append(dataclasses.replace(parent[FORK], token_id=10**9))
    with pytest.raises(ValueError, match="token"):
        tracer.resume(strange)
    with pytest.raises(ValueError, match="token"):
        tracer.why(strange)
    long = Trace(parent.origin, parent[:FORK])
    for n in range(FORK, tiny.CONTEXT + 1):
        long.append(dataclasses.replace(parent[9], step=n, position=n))
    with pytest.raises(ValueError, match=f"{tiny.CONTEXT + 1} tokens"):
        tracer.resume(long)
    with pytest.raises(ValueError, match=f"{tiny.CONTEXT + 1} tokens"):
        tracer.why(long)


def test_a_forgotten_runs_cache_is_forgotten(gpt2):
    tracer, _ = gpt2
    trace = tracer.run(tiny.PROMPT, max_tokens=2)
    branch = go_on(tracer, trace.branch(6), max_tokens=2)
    assert {trace.key, branch.key} <= set(tracer.passes._caches)
    del trace, branch
    gc.collect()
    held = push_out(tracer)
    assert set(tracer.passes._caches) == {trace.key for trace in held[-4:]}
    del held
    gc.collect()
    assert len(tracer.passes._caches) == 0


SAES = (SAEOrigin("a", "blocks.1.hook_resid_pre", 1, 50), SAEOrigin("b", "blocks.2.hook_resid_pre", 2, 50))


def made_up(seed, like=None, same=0):
    """A run of two SAEs made of chance, its first steps another's."""
    generator = torch.Generator().manual_seed(seed)
    trace = Trace(Origin("m", SAES), like[:same] if like else ())
    for n in range(len(trace), 14):
        special = n in (0, 9)
        features = [
            Feature(int(i), float(torch.rand(1, generator=generator)), sae + 1, f"{sae}:{i}" if i % 2 else "", sae)
            for sae in range(2)
            for i in torch.randperm(12, generator=generator)[:4]
        ]
        token = int(torch.randint(0, 100, (1,), generator=generator))
        fits = () if special else (Fit(0.9, 0.9, 4), Fit(0.8, 0.8, 4))
        trace.append(
            TokenStep("x", token, n, n, n > 3, special, features=() if special else tuple(features), fits=fits)
        )
    return trace


def brute_force(a, b, start):
    """Compare two runs feature by feature with pandas."""
    sides = {}
    for name, trace in (("a", a), ("b", b)):
        rows = [(f.sae, f.layer, f.id, f.activation, s.step) for s in trace if s.step >= start for f in s.features]
        table = pd.DataFrame(rows, columns=["sae", "layer", "id", "activation", "step"])
        tokens = sum(not s.special for s in trace if s.step >= start)
        by = table.groupby(["sae", "layer", "id"]).activation
        sides[f"mean_{name}"] = by.sum() / tokens
        sides[f"peak_{name}"] = by.max()
        sides[f"tokens_{name}"] = by.size()
    joined = pd.DataFrame(sides).fillna(0.0)
    joined["difference"] = joined.mean_a - joined.mean_b
    return joined


@pytest.mark.parametrize(("seed", "same"), [(1, 0), (2, 5), (3, 9), (4, 13)])
def test_two_runs_are_compared_as_pandas_does(seed, same):
    a = made_up(seed)
    b = made_up(seed + 50, a, same)
    for one, other in ((a, b), (b, a)):
        table = one.compare(other)
        start = same or 1  # both begin with a special token without features
        if one[0].token_id != other[0].token_id:
            start = 0
        assert table.attrs["from"] == start
        expected = brute_force(one, other, start)
        found = table.set_index(["sae", "layer", "id"])
        assert len(found) == len(expected) > 5
        for column in expected.columns:
            pd.testing.assert_series_equal(
                found[column].astype(float).sort_index(), expected[column].astype(float).sort_index(), check_names=False
            )
        assert list(table.difference.abs()) == sorted(table.difference.abs(), reverse=True)
        only = ["b" if not a else "a" if not b else "" for a, b in zip(table.tokens_a, table.tokens_b, strict=True)]
        assert list(table.only) == only
        assert {"a", "b"} <= set(only)
        assert list(table.label) == [f"{s}:{i}" if i % 2 else "" for s, i in zip(table.sae, table.id, strict=True)]


def test_a_branch_is_compared_with_its_parent_from_the_fork_on(gpt2, parent):
    tracer, _ = gpt2
    branch = go_on(tracer, parent.branch(FORK), 50, max_tokens=9)
    table = parent.compare(branch)
    assert table.attrs["from"] == FORK
    expected = brute_force(parent, branch, FORK)
    found = table.set_index(["sae", "layer", "id"]).difference.sort_index()
    pd.testing.assert_series_equal(found, expected.difference.sort_index(), check_names=False)


def test_runs_that_do_not_differ_have_nothing_to_compare(gpt2, parent):
    again = Trace.from_json(parent.to_json())
    table = parent.compare(again)
    assert table.empty
    assert table.attrs["from"] == len(parent)
    assert list(table.columns) == list(parent.compare(made_up_like(parent)).columns)


def made_up_like(trace):
    return Trace(trace.origin, trace[:3])


def test_runs_of_different_saes_are_not_compared(parent):
    with pytest.raises(ValueError, match="same SAEs"):
        parent.compare(made_up(1))


@pytest.mark.parametrize("token", [True, 3.5, None, [1]])
def test_a_token_is_named_by_its_text_or_its_id(gpt2, token):
    tracer, _ = gpt2
    with pytest.raises(TypeError, match="by its text or its id"):
        tracer.vocabulary.find(token)


def test_numbers_may_come_from_a_table(gpt2):
    tracer, _ = gpt2
    assert tracer.vocabulary.find(np.int64(7)) == 7
    assert tracer.address(np.int64(7)) == (0, 7)


def test_a_branch_tells_its_own_settings_and_its_parents(gpt2, parent):
    tracer, _ = gpt2
    before = (parent.origin, dict(parent.changes))
    branch = parent.branch(FORK)
    list(tracer.resume(branch, temperature=0.7, repetition_penalty=1, max_tokens=2, seed=5))
    assert branch.origin == before[0]
    assert branch.changes == {FORK: {"temperature": 0.7, "max_tokens": 2, "seed": 5}}
    assert (parent.origin, parent.changes) == before
    list(tracer.resume(branch, temperature=0.7, repetition_penalty=1, max_tokens=3, seed=5))
    assert branch.changes[FORK + 2] == {"max_tokens": 3}
    assert Trace.from_json(branch.to_json()).changes == branch.changes


@pytest.mark.parametrize("layer", [0, 1])
def test_no_run_goes_on_from_a_pass_that_broke(gpt2, monkeypatch, layer):
    tracer, _ = gpt2
    block = tracer.model.plain.transformer.h[layer].mlp
    whole = tracer.run(tiny.PROMPT, max_tokens=12, **GREEDY)
    trace, passes = Trace(), []

    def breaks(*_):
        passes.append(1)
        if len(passes) == 9:
            raise RuntimeError("out of memory")

    handle = block.register_forward_hook(breaks)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(tracer.stream(tiny.PROMPT, max_tokens=12, trace=trace, **GREEDY))
    handle.remove()
    broken = len(trace)
    assert trace.finish == "error"
    assert 6 < broken < len(whole)
    branch = go_on(tracer, trace.branch(broken), max_tokens=len(whole) - broken)
    assert_same(branch, whole)
    rows, expected = (tracer.why(run, broken - 1, exact=False) for run in (trace, whole))
    pd.testing.assert_frame_equal(rows, expected, rtol=1e-3, atol=1e-4)
