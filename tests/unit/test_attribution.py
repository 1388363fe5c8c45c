"""Why a token follows: direct shares against their formula written out, exact ones against the plain model run anew."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
import torch

from axon_widget.engine.features import FeatureReader
from axon_widget.engine.tracer import Tracer
from axon_widget.trace import Steer, Steering, Trace
from tests.unit import tiny
from tests.unit.reference import PLAIN, Reference, counted

HOOK = "blocks.1.hook_resid_pre"
LAYERS = ("blocks.0.hook_resid_pre", HOOK, "blocks.1.hook_resid_post")
DIRECT_PARTS = ["error", "bias", "final biases", "soft cap"]  # besides the features and other layers
STEERING = Steering((Steer(0, 4, 3.0), Steer(0, 11, 0.0), Steer(0, 30, 1.7, scale=True)))


@pytest.fixture(scope="module")
def gpt2(pair):
    """A tiny GPT-2 with its SAE, a run of it, and the reference."""
    tracer, reference = pair("gpt2", HOOK)
    return tracer, tracer.run(tiny.PROMPT, max_tokens=15, seed=2), reference


def ids_of(trace):
    return [step.token_id for step in trace]


def features_of(table, sae=0):
    return table[(table.part == "feature") & (table.sae == sae)].set_index("id")


def part_of(table, name, sae=0):
    [row] = table[(table.part == name) & (table.sae == sae)].itertuples()
    return row


class Direct:
    """What a vector of the residual stream adds to a token's logit less the mean logit, from the model's own weights.

    v / sigma . ((W_U[t] - mean W_U) * gamma), where a LayerNorm takes the mean of v away first.
    """

    def __init__(self, reference, token, final):
        norm, head = reference.norm, reference.model.get_output_embeddings()
        gamma = norm.weight.detach().double()
        if type(norm).__name__ == "Gemma2RMSNorm":
            gamma = 1 + gamma
        self.centred = isinstance(norm, torch.nn.LayerNorm)
        x = final.double()
        epsilon = getattr(norm, "eps", None) or norm.variance_epsilon
        power = x.var(unbiased=False) if self.centred else x.square().mean()
        self.sigma = (power + epsilon).sqrt()
        weights = head.weight.detach().double()
        row = weights[token] - weights.mean(0)
        self.row = gamma * row
        self.biases = 0.0
        if self.centred:
            self.biases += float(norm.bias.detach().double() @ row)
        if head.bias is not None:
            offset = head.bias.detach().double()
            self.biases += float(offset[token] - offset.mean())

    def __call__(self, vector):
        v = vector.detach().double()
        v = v - v.mean() if self.centred else v
        return float(v @ self.row / self.sigma)


def later_of(table):
    """What the part is called that neither the features nor the SAE's error and bias write."""
    [name] = {"later layers", "other layers"} & set(table.part)
    return name


def assert_direct(table, reference, ids, token, sae=0, steering=PLAIN):
    """Compare every direct share of one SAE with its formula, and their sum with the model's own logits."""
    run = reference.run(ids, steering)
    apart = reference.apart(sae, ids, steering)
    logits = run.logits[-1]
    difference = float(logits[token] - logits.mean())
    direct = Direct(reference, token, run.final[-1])
    found = features_of(table, sae)
    assert len(found) > 5
    assert set(found.index) == set(apart.ids)
    for feature in apart.ids:
        assert found.direct[feature] == pytest.approx(direct(apart.part(feature)), abs=1e-4)
        assert found.activation[feature] == pytest.approx(float(apart.activations[feature]), abs=1e-4)
    expected = {
        "error": direct(apart.error),
        "bias": direct(apart.bias),
        later_of(table): direct(run.final[-1] - run.used[sae][-1]),
        "final biases": direct.biases,
        "all features": direct(apart.features),
    }
    for name, value in expected.items():
        assert part_of(table, name, sae).direct == pytest.approx(value, abs=1e-3), name
    total = found.direct.sum() + sum(part_of(table, name, sae).direct for name in (*DIRECT_PARTS, later_of(table)))
    assert total == pytest.approx(difference, abs=1e-3)
    assert part_of(table, "gap", sae).direct == pytest.approx(0, abs=1e-3)
    assert table.attrs["logit_difference"] == pytest.approx(difference, abs=1e-3)
    return direct, run


def assert_exact(table, reference, ids, token, sae=0, steering=PLAIN):
    """Compare every exact share of one SAE with the plain model run again without the part."""
    apart = reference.apart(sae, ids, steering)
    whole = reference.logprob(ids, token, steering)
    assert table.attrs["logprob"] == pytest.approx(whole, abs=1e-4)

    def lost(vector):
        return whole - reference.logprob(ids, token, steering, minus=(sae, vector))

    found = features_of(table, sae)
    assert set(found.index) == set(apart.ids)
    for feature in apart.ids:
        assert found.exact[feature] == pytest.approx(lost(apart.part(feature)), abs=1e-4)
    assert part_of(table, "error", sae).exact == pytest.approx(lost(apart.error), abs=1e-4)
    assert part_of(table, "bias", sae).exact == pytest.approx(lost(apart.bias), abs=1e-4)
    together = lost(apart.features)
    assert part_of(table, "all features", sae).exact == pytest.approx(together, abs=1e-4)
    assert part_of(table, "gap", sae).exact == pytest.approx(together - found.exact.sum(), abs=1e-3)
    for name in (later_of(table), "final biases", "soft cap"):
        assert math.isnan(part_of(table, name, sae).exact)
    return found.exact


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_direct_shares_of_every_family_are_the_formula_and_sum_to_the_logit(pair, name):
    tracer, reference = pair(name, HOOK)
    trace = tracer.run(tiny.PROMPT, max_tokens=15, seed=2)
    ids = ids_of(trace)
    for step in (3, len(trace) - 8, len(trace) - 1):
        table = tracer.why(trace, step, exact=False)
        direct, run = assert_direct(table, reference, ids[:step], ids[step])
        with torch.inference_mode():
            final = reference.norm(run.final[-1:])
            uncapped = reference.model.get_output_embeddings()(final)[0].double()
        cap = float(run.logits[-1, ids[step]] - run.logits[-1].mean() - uncapped[ids[step]] + uncapped.mean())
        assert part_of(table, "soft cap").direct == pytest.approx(cap, abs=1e-3)
        assert (abs(cap) > 1e-2) == (name == "gemma2")
        assert (abs(direct.biases) > 1e-3) == (name in ("gpt2", "gptj", "neox", "phi", "opt"))
        assert table.exact.isna().all()


@pytest.mark.parametrize("hook", [LAYERS[0], LAYERS[2], "blocks.0.hook_mlp_out", "blocks.1.hook_resid_mid"])
def test_direct_and_exact_shares_at_other_hook_points(pair, hook):
    tracer, reference = pair("gpt2", hook)
    trace = tracer.run(tiny.PROMPT, max_tokens=8, seed=2)
    ids = ids_of(trace)
    table = tracer.why(trace, 9)
    assert later_of(table) == ("later layers" if "resid" in hook else "other layers")
    assert_direct(table, reference, ids[:9], ids[9])
    assert_exact(table, reference, ids[:9], ids[9])


def test_after_the_last_block_exact_effects_need_no_later_layer(pair):
    tracer, _ = pair("gpt2", LAYERS[2])
    table = tracer.why(tracer.run(tiny.PROMPT, max_tokens=8, seed=2), 9, exact=False)
    assert part_of(table, "later layers").direct == pytest.approx(0, abs=1e-5)


def test_features_inside_a_block_have_exact_shares_only(pair):
    tracer, reference = pair("gpt2", "blocks.1.attn.hook_z")
    trace = tracer.run(tiny.PROMPT, max_tokens=8, seed=2)
    ids = ids_of(trace)
    table = tracer.why(trace, 9)
    assert table.direct.isna().all()
    exact = assert_exact(table, reference, ids[:9], ids[9])
    assert exact.abs().max() > 0.01


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "neox", "mistral"])
def test_exact_shares_are_those_of_the_plain_model(pair, name):
    tracer, reference = pair(name, HOOK)
    trace = tracer.run(tiny.PROMPT, max_tokens=15, seed=2)
    ids = ids_of(trace)
    for step in (4, len(trace) - 1):
        exact = assert_exact(tracer.why(trace, step), reference, ids[:step], ids[step])
        assert exact.abs().max() > 0.01


@pytest.mark.parametrize(
    "config", [{"normalize_activations": "layer_norm"}, {"normalize_activations": "constant_norm_rescale"}], ids=str
)
def test_shares_of_a_normalising_sae_are_in_the_streams_units(pair, config):
    tracer, reference = pair("gpt2", HOOK, **config)
    trace = tracer.run(tiny.PROMPT, max_tokens=8, seed=2)
    ids = ids_of(trace)
    table = tracer.why(trace, 9)
    assert_direct(table, reference, ids[:9], ids[9])
    assert_exact(table, reference, ids[:9], ids[9])


@pytest.mark.parametrize("architecture", ["jumprelu", "topk", "gated"])
def test_shares_of_other_kinds_of_sae(pair, architecture):
    tracer, reference = pair("llama", HOOK, architecture=architecture)
    trace = tracer.run(tiny.PROMPT, max_tokens=8, seed=2)
    ids = ids_of(trace)
    table = tracer.why(trace, 9)
    assert_direct(table, reference, ids[:9], ids[9])
    assert_exact(table, reference, ids[:9], ids[9])


def test_shares_of_an_sae_of_centred_weights(pair):
    tracer, reference = pair("gpt2", HOOK, centred=True)
    trace = tracer.run(tiny.PROMPT, max_tokens=8, seed=2)
    ids = ids_of(trace)
    table = tracer.why(trace, 9)
    assert_direct(table, reference, ids[:9], ids[9])
    assert_exact(table, reference, ids[:9], ids[9])


def test_the_embedded_models_shares(tracer, embedded_reference):
    trace = tracer.run("Once upon a time, there was a cat", temperature=0.8, max_tokens=12, seed=1)
    ids = ids_of(trace)
    for step in (10, 18):
        table = tracer.why(trace, step)
        assert_direct(table, embedded_reference, ids[:step], ids[step])
        exact = assert_exact(table, embedded_reference, ids[:step], ids[step])
        assert exact.abs().max() > 0.1
        assert list(features_of(table).label) == [tracer.names(0, i) for i in features_of(table).index]


@pytest.mark.parametrize("by", ["text", "id"])
def test_another_token_can_be_explained_in_its_place(tracer, embedded_reference, by):
    trace = tracer.run("Tom had a red", temperature=0, max_tokens=6)
    chosen = trace[-1].alternatives[1]
    table = tracer.why(trace, token=chosen.token if by == "text" else chosen.token_id)
    assert (table.attrs["token"], table.attrs["token_id"]) == (chosen.token, chosen.token_id)
    assert table.attrs["step"] == len(trace) - 1
    assert math.exp(table.attrs["logprob"]) == pytest.approx(chosen.probability, abs=1e-4)
    ids = ids_of(trace)[:-1]
    assert_direct(table, embedded_reference, ids, chosen.token_id)
    assert_exact(table, embedded_reference, ids, chosen.token_id)


def test_the_token_to_come_can_be_explained(gpt2):
    tracer, trace, reference = gpt2
    ids = ids_of(trace)
    [likeliest], _ = (part[-1:] for part in reference.greedy(ids, 1))
    table = tracer.why(trace, len(trace))
    assert (table.attrs["step"], table.attrs["token_id"]) == (len(trace), likeliest)
    assert_direct(table, reference, ids, likeliest)
    assert_exact(table, reference, ids, likeliest)
    other = tracer.why(trace, len(trace), token=50)
    assert_exact(other, reference, ids, 50)


def test_the_newest_token_is_explained_where_none_is_named(gpt2):
    tracer, trace, _ = gpt2
    found, named = tracer.why(trace), tracer.why(trace, len(trace) - 1)
    assert found.attrs == named.attrs
    assert found.attrs["token_id"] == trace[-1].token_id
    assert found.attrs["logprob"] == pytest.approx(trace[-1].logprob, abs=1e-5)
    assert found.equals(named)


def test_features_are_those_of_the_token_before_strongest_first(gpt2):
    tracer, trace, _ = gpt2
    found = features_of(tracer.why(trace, 12, exact=False))
    assert [(i, pytest.approx(a, abs=1e-4)) for i, a in found.activation.items()] == [
        (f.id, f.activation) for f in trace[11].features
    ]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_shares_under_steering_are_of_what_the_model_was_run_with(pair, name):
    tracer, reference = pair(name, HOOK)
    trace = tracer.run(tiny.PROMPT, max_tokens=10, seed=2, steering=STEERING)
    ids = ids_of(trace)
    for step in (5, len(trace) - 1):
        table = tracer.why(trace, step)
        assert features_of(table).activation[4] == 3.0
        assert 11 not in features_of(table).index
        assert_direct(table, reference, ids[:step], ids[step], steering=STEERING)
        assert_exact(table, reference, ids[:step], ids[step], steering=STEERING)


def test_a_feature_steered_below_zero_has_its_share(pair):
    tracer, reference = pair("gpt2", HOOK)
    steering = Steering((Steer(0, 7, -4.0),))
    trace = tracer.run(tiny.PROMPT, max_tokens=4, seed=2, steering=steering)
    ids = ids_of(trace)
    table = tracer.why(trace, 8)
    assert features_of(table).activation[7] == -4.0
    assert_direct(table, reference, ids[:8], ids[8], steering=steering)
    assert_exact(table, reference, ids[:8], ids[8], steering=steering)


@pytest.mark.parametrize("changes", [(), STEERING.features], ids=["alone", "and steered"])
def test_shares_where_the_model_is_read_through_its_sae(pair, changes):
    tracer, reference = pair("gpt2", HOOK)
    steering = Steering(changes, reconstruct=True)
    trace = tracer.run(tiny.PROMPT, max_tokens=5, seed=2, steering=steering)
    ids = ids_of(trace)
    table = tracer.why(trace, 9)
    assert_direct(table, reference, ids[:9], ids[9], steering=steering)
    assert_exact(table, reference, ids[:9], ids[9], steering=steering)
    assert part_of(table, "error").exact == pytest.approx(0, abs=1e-4)


def test_shares_follow_steering_that_was_changed_on_the_way(pair):
    tracer, reference = pair("gpt2", HOOK)
    trace = Trace()
    for _ in tracer.stream(
        tiny.PROMPT, max_tokens=14, seed=2, trace=trace, steering=lambda: STEERING if len(trace) >= 12 else PLAIN
    ):
        pass
    ids = ids_of(trace)

    def held(position):
        return STEERING if position >= 11 else PLAIN

    for step in (11, 12, 13, 15):
        table = tracer.why(trace, step)
        assert_direct(table, reference, ids[:step], ids[step], steering=held)
        assert_exact(table, reference, ids[:step], ids[step], steering=held)


def test_shares_of_several_saes_are_each_ones_own(pair):
    tracer, reference = pair("gpt2", *LAYERS)
    trace = tracer.run(tiny.PROMPT, max_tokens=8, seed=2)
    ids = ids_of(trace)
    table = tracer.why(trace, 10)
    for sae in range(3):
        assert set(table[table.sae == sae].layer) == {tracer.readers[sae].layer}
        assert_direct(table, reference, ids[:10], ids[10], sae)
        assert_exact(table, reference, ids[:10], ids[10], sae)


@pytest.mark.parametrize("reconstruct", [False, True])
def test_steering_of_a_deeper_sae_answers_what_is_taken_out_above_it(pair, reconstruct):
    tracer, reference = pair("gpt2", *LAYERS)
    steering = Steering((Steer(0, 3, 2.0), Steer(1, 8, 4.0), Steer(2, 20, 0.5, scale=True)), reconstruct)
    trace = tracer.run(tiny.PROMPT, max_tokens=5, seed=2, steering=steering)
    ids = ids_of(trace)
    table = tracer.why(trace, 9)
    for sae in range(3):
        assert_direct(table, reference, ids[:9], ids[9], sae, steering)
        assert_exact(table, reference, ids[:9], ids[9], sae, steering)


def test_two_saes_at_one_hook_point_take_turns(pair, family, tmp_path_factory):
    paths = [tiny.save_sae(tmp_path_factory.mktemp("sae"), HOOK, seed=seed) for seed in (5, 6)]
    tracer, reference = Tracer.load(str(family("gpt2")), paths, device="cpu"), Reference(family("gpt2"), *paths)
    steering = Steering((Steer(0, 3, 2.0), Steer(1, 8, 4.0)))
    trace = tracer.run(tiny.PROMPT, max_tokens=3, seed=2, steering=steering)
    ids = ids_of(trace)
    table = tracer.why(trace, 8)
    for sae in range(2):
        assert_direct(table, reference, ids[:8], ids[8], sae, steering)
    # What the first one's part is taken from goes through the second one's steering.
    assert_exact(table, reference, ids[:8], ids[8], 1, steering)
    assert_exact(table, reference, ids[:8], ids[8], 0, steering)


def test_shares_do_not_depend_on_a_kept_cache(gpt2):
    tracer, trace, _ = gpt2
    found = tracer.why(trace, 12)
    again = tracer.why(Trace.from_json(trace.to_json()), 12)
    assert again.attrs == pytest.approx(found.attrs)
    for column in ("direct", "exact"):
        assert again[column].tolist() == pytest.approx(found[column].tolist(), abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("name", ["gpt2", "mistral"])
def test_a_text_is_run_once_for_all_ablations(pair, name):
    tracer, _ = pair(name, HOOK)
    trace = tracer.run(tiny.PROMPT, max_tokens=15, seed=2)
    with counted(tracer) as lengths:
        tracer.why(trace)
    assert sum(n > 16 for n in lengths) == (name == "mistral")  # whose window is full
    with counted(tracer) as lengths:
        table = tracer.why(Trace.from_json(trace.to_json()))
    first, second, *ablations = lengths
    assert (first, second) == (20, 1)
    assert sum(ablations) == len(features_of(table)) + 3
    assert max(ablations) <= 16 < sum(ablations)


def test_an_explanation_leaves_the_run_as_it_was(pair):
    tracer, _ = pair("gpt2", HOOK)
    alone = tracer.run(tiny.PROMPT, temperature=0, max_tokens=12)
    trace = Trace()
    for step in tracer.stream(tiny.PROMPT, temperature=0, max_tokens=12, trace=trace):
        if step.position in (9, 13):
            tracer.why(trace)
            tracer.why(trace, len(trace))
    assert ids_of(trace) == ids_of(alone)
    assert [s.logprob for s in trace[1:]] == pytest.approx([s.logprob for s in alone[1:]], abs=1e-5)


def test_explanations_may_be_asked_for_while_the_model_writes(pair):
    tracer, _ = pair("gpt2", HOOK)
    settings = {"temperature": 0, "max_tokens": 30, "steering": STEERING}
    alone = tracer.run(tiny.PROMPT, **settings)
    trace, explained, wrong = Trace(), {}, []
    done = threading.Event()

    def explain():
        while not done.is_set() or not explained:
            try:
                if len(trace) > 3:
                    table = tracer.why(trace)
                    explained[table.attrs["step"]] = table.attrs["logprob"]
            except Exception as error:
                wrong.append(error)
                return

    thread = threading.Thread(target=explain)
    thread.start()
    for _ in tracer.stream(tiny.PROMPT, trace=trace, **settings):
        pass
    done.set()
    thread.join()
    assert wrong == []
    assert ids_of(trace) == ids_of(alone)
    assert [step.logprob for step in trace[1:]] == pytest.approx([step.logprob for step in alone[1:]], abs=1e-5)
    assert explained == {step: pytest.approx(trace[step].logprob, abs=1e-4) for step in explained}


def test_explanations_may_be_asked_for_at_once(pair):
    reference = pair("gpt2", HOOK)[0]
    trace = reference.run(tiny.PROMPT, max_tokens=8, temperature=0)
    expected = reference.why(trace)
    for _ in range(5):
        # What is known of the final norm is found out at the first.
        tracer = Tracer(reference.model, reference.vocabulary.tokenizer, reference.readers)
        tracer.model_name = reference.model_name
        with ThreadPoolExecutor(8) as pool:
            tables = list(pool.map(lambda _, tracer=tracer: tracer.why(trace), range(8)))
        for table in tables:
            # The gap is a difference of sums: the rounding of all features adds up in it.
            pd.testing.assert_frame_equal(table, expected, atol=1e-4)


@pytest.fixture(scope="module")
def without_bos(pair):
    """The tiny GPT-2 with a tokenizer that puts nothing before a text."""
    tracer, reference = pair("gpt2", HOOK)
    tokenizer = tracer.vocabulary.tokenizer.__class__.from_pretrained(tracer.vocabulary.tokenizer.name_or_path)
    tokenizer.bos_token = None
    [reader] = tracer.readers
    return Tracer(tracer.model, tokenizer, [FeatureReader(reader.sae)]), reference


def test_the_second_token_of_a_model_without_bos_is_explained(without_bos):
    tracer, reference = without_bos
    trace = tracer.run(tiny.PROMPT, max_tokens=1, seed=2)
    assert not trace[0].special
    ids = ids_of(trace)
    table = tracer.why(trace, 1)
    assert_direct(table, reference, ids[:1], ids[1])
    assert_exact(table, reference, ids[:1], ids[1])


@pytest.mark.parametrize(
    ("step", "reason"),
    [(0, "follows nothing"), (1, "follows a special token"), (-1, "no token -1"), (23, "no token 23.*0 to 21")],
)
def test_a_place_with_nothing_to_explain_is_refused(gpt2, step, reason):
    tracer, trace, _ = gpt2
    assert len(trace) == 22
    with pytest.raises(ValueError, match=reason):
        tracer.why(trace, step)


@pytest.mark.parametrize("step", [2.0, "3"])
def test_a_place_that_is_no_whole_number_is_refused(gpt2, step):
    tracer, trace, _ = gpt2
    with pytest.raises(TypeError, match="as an integer"):
        tracer.why(trace, step)


@pytest.mark.parametrize("token", ["xyzzy", "", " the cat", -1, 10**6])
def test_a_token_that_is_none_is_refused(gpt2, token):
    tracer, trace, _ = gpt2
    with pytest.raises(ValueError, match=r"is not one token|no token"):
        tracer.why(trace, 10, token)


def test_the_trace_of_another_model_is_refused(gpt2, tracer, pair):
    tiny_tracer, trace, _ = gpt2
    with pytest.raises(ValueError, match=r"trace is of .*tiny-gpt2.* stories15M with .* is loaded"):
        tracer.why(trace)
    with pytest.raises(ValueError, match="trace is of"):
        pair("gpt2", *LAYERS)[0].why(trace)
    with pytest.raises(ValueError, match="trace is of no model"):
        tiny_tracer.why(Trace())
