"""What six layers at once cost: `python -m tests.benchmarks.layers`.

The embedded model writes with its own sparse autoencoder, and with six: those that come with it, and for the other
layers random ones of the same shape in which about as many features fire. The two loops take turns, some tokens each;
ratios are taken round by round, and their median is what counts.

`--profile` prints where the time of six goes.

Ends with status 1 where six take more than 1.6 times as long as one.
"""

import argparse
import cProfile
import os
import pstats
import statistics
import sys
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.sae import SAEMetadata
from tqdm import tqdm

from axon_widget.embedded import STORIES
from axon_widget.engine.features import FeatureReader
from axon_widget.engine.tracer import Tracer
from axon_widget.trace import TokenStep
from tests.benchmarks.shape import timed

PROMPT = "Once upon a time, there was a little"
LAYERS = 6
TOKENS = 20  # timed in each round
MOST = 1.6


@torch.inference_mode()
def random_sae(hook: str, shape: Any, firing: int, residual: torch.Tensor, seed: int) -> JumpReLUSAE:
    """Make an autoencoder of a shape, its thresholds such that about so many features fire on activations (n, d_in)."""
    generator = torch.Generator().manual_seed(seed)
    config = JumpReLUSAEConfig(d_in=shape.d_in, d_sae=shape.d_sae, metadata=SAEMetadata(hook_name=hook))
    sae = JumpReLUSAE(config)
    directions = torch.randn(shape.d_sae, shape.d_in, generator=generator) / shape.d_in**0.5
    sae.W_dec.copy_(directions)
    sae.W_enc.copy_(directions.T)
    sae.threshold.fill_(float((residual @ sae.W_enc).topk(firing, -1).values[:, -1].median()))
    return sae.eval()


def make_tracers() -> tuple[Tracer, Tracer]:
    """Make the tracer of one layer and that of six, over the same model."""
    one = Tracer.load("embedded", device="cpu")
    own = [path.parent.name for path in STORIES.saes.glob("blocks.*.hook_resid_pre/cfg.json")]
    shape = one.readers[0].sae.cfg
    trace = one.run(PROMPT, temperature=0, max_tokens=40)
    firing = round(statistics.mean(step.l0 for step in trace if not step.special))
    with torch.inference_mode():
        ids = torch.tensor([[step.token_id for step in trace]])
        streams = one.model.plain(ids, output_hidden_states=True).hidden_states
    readers: list[FeatureReader] = []
    for layer in range(LAYERS):
        hook = f"blocks.{layer}.hook_resid_pre"
        if hook in own:
            readers += Tracer.load("embedded", hook, device="cpu").readers
        else:
            readers.append(FeatureReader(random_sae(hook, shape, firing, streams[layer][0, 1:], layer)))
    return one, Tracer(one.model, one.vocabulary.tokenizer, readers)


def writing(tracer: Tracer) -> Iterator[TokenStep]:
    """Write; the first step given is the first token behind the prompt."""
    for step in tracer.stream(PROMPT, temperature=0, repetition_penalty=1, max_tokens=TOKENS + 1, seed=0):
        if step.generated:
            yield step


def measure(one: Tracer, six: Tracer, rounds: int) -> dict[str, Any]:
    """Give the median milliseconds of a token, their ratio and how many features fire."""
    times: dict[str, list[float]] = {"one": [], "six": []}
    firing: dict[str, list[int]] = {"one": [], "six": []}
    # The first round warms caches and allocators up and does not count.
    for counted in tqdm(range(-1, rounds), unit="round", desc="one and six in turn"):
        for name, tracer in (("one", one), ("six", six)):
            steps = writing(tracer)
            next(steps)
            took = [timed(lambda steps=steps, name=name: firing[name].append(next(steps).l0)) for _ in range(TOKENS)]
            if counted >= 0:
                times[name].append(statistics.median(took))
    return {
        **{name: statistics.median(values) for name, values in times.items()},
        "ratio": statistics.median([b / a for a, b in zip(times["one"], times["six"], strict=True)]),
        "firing": {name: statistics.mean(values) for name, values in firing.items()},
    }


def main() -> int:
    """Measure, print, and say by the exit status whether the target is met."""
    parser = argparse.ArgumentParser(description="Milliseconds per token with six autoencoders and with one.")
    parser.add_argument("--rounds", type=int, default=15, help="how often each loop is measured (default 15)")
    parser.add_argument("--threads", type=int, help="PyTorch threads (default: its own choice)")
    parser.add_argument("--profile", action="store_true", help="print where the time of six goes")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    one, six = make_tracers()
    found = measure(one, six, options.rounds)
    print(f"embedded model, {torch.get_num_threads()} threads; median of {options.rounds} rounds of {TOKENS} tokens")
    for name in ("one", "six"):
        print(f"{name:<4} {found[name]:6.2f} ms a token    {found['firing'][name]:5.0f} features firing")
    print(f"six / one  {found['ratio']:.2f}    target <= {MOST}")
    if options.profile:
        with cProfile.Profile() as profile:
            for _ in range(5):
                list(writing(six))
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    met = found["ratio"] <= MOST
    print("target met" if met else "THE TARGET IS MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
