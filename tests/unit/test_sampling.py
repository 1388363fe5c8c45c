"""Choosing the next token against what `generate` draws from, on small vocabularies."""

import math

import pytest
import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel
from transformers.generation import LogitsProcessorList

from axon_widget.engine.sampling import Sampling

LOGITS = torch.tensor([[2.0, 1.0, 0.5, 0.0, -0.5, -1.0, -2.0, -4.0]])
SEEN = torch.tensor([[0, 0, 0, 5]])
DRAWS = 4000

SETTINGS = [
    Sampling(),
    Sampling(temperature=1, top_k=0, top_p=1, repetition_penalty=1),
    Sampling(temperature=0.5, top_k=0, top_p=0.8, repetition_penalty=1),
    Sampling(temperature=1.7, top_k=3, top_p=1, repetition_penalty=1.6),
    Sampling(temperature=1.2, top_k=6, top_p=0.7, repetition_penalty=1.3),
    Sampling(temperature=1, top_k=200, top_p=0.05, repetition_penalty=2),
]


def draws(settings, logits=LOGITS, ids=SEEN, n=DRAWS):
    generator = torch.Generator().manual_seed(11)
    chosen = torch.tensor([settings.choose(ids, logits, generator) for _ in range(n)])
    return torch.bincount(chosen, minlength=logits.shape[1]) / n


def generates(settings):
    """The distribution that transformers' own `generate` would draw from."""
    model = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=8, n_layer=1, n_head=1))
    config = GenerationConfig(
        do_sample=True,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        repetition_penalty=float(settings.repetition_penalty),
    )
    processors = model._get_logits_processor(config, input_ids_seq_length=4, logits_processor=LogitsProcessorList())
    return processors(SEEN, LOGITS.clone()).softmax(-1)[0]


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_draws_follow_the_distribution_of_generate(settings):
    expected, found = generates(settings), draws(settings)
    assert not found[expected == 0].any()
    # Six standard errors of each frequency: a right sampler fails once in many millions of runs.
    allowed = 6 * (expected * (1 - expected) / DRAWS).sqrt() + 1e-9
    assert ((found - expected).abs() <= allowed).all(), (found, expected)


def test_settings_of_the_test_differ_from_each_other():
    distributions = [generates(settings) for settings in SETTINGS]
    for i, one in enumerate(distributions):
        for two in distributions[i + 1 :]:
            assert (one - two).abs().max() > 0.05


def test_temperature_0_takes_the_likeliest():
    found = draws(Sampling(temperature=0, repetition_penalty=1, top_p=0.05, top_k=1), n=20)
    assert found.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_the_penalty_falls_once_on_each_token_that_occurred():
    # 2 / 1.9 = 1.05 stays above 1; twice or three times over it would not.
    assert draws(Sampling(temperature=0, repetition_penalty=1.9), n=1)[0] == 1
    assert draws(Sampling(temperature=0, repetition_penalty=2.0), logits=LOGITS + 0.1, n=1)[1] == 1


def test_the_penalty_makes_negative_logits_smaller():
    logits = torch.tensor([[-1.0, -1.5, -9.0]])
    assert draws(Sampling(temperature=0, repetition_penalty=1.4), logits, torch.tensor([[0]]), n=1)[0] == 1
    assert draws(Sampling(temperature=0, repetition_penalty=1.6), logits, torch.tensor([[0]]), n=1)[1] == 1


def test_top_k_0_keeps_every_token():
    flat = torch.zeros(1, 300)
    settings = Sampling(temperature=1, top_k=0, top_p=1, repetition_penalty=1)
    assert (draws(settings, flat, n=3000) > 0).sum() > 280
    assert (draws(Sampling(temperature=1, top_k=7, top_p=1, repetition_penalty=1), LOGITS, n=500) > 0).sum() <= 7


def test_the_logits_are_left_as_they_are():
    logits = LOGITS.clone()
    for settings in SETTINGS:
        settings.choose(SEEN, logits, torch.Generator())
    assert torch.equal(logits, LOGITS)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1])
@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "repetition_penalty", "max_tokens"])
def test_numbers_that_make_no_sense_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        Sampling(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("top_p", 0), ("top_p", 1.01), ("repetition_penalty", 0), ("max_tokens", 0), ("max_tokens", 1.5), ("top_k", 0.5)],
)
def test_numbers_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        Sampling(**{name: value})
