"""How long a token takes: `python -m tests.benchmarks.token_loop`.

Three loops write the same number of tokens with a model of gpt2-small's exact shape and random weights:

(a) the plain Hugging Face loop with a KV cache, greedy, no features;
(b) ours: `Tracer.stream`, greedy, the features of a 24,576-wide sparse autoencoder read on each token;
(c) AXON's way: HookedTransformer, the whole text again for each token (`run_with_cache` for the one hook point),
    then the autoencoder's encoder on the last token.

"At 40 tokens" is the median over the eight tokens around the 40th, "at 160" around the 160th, the text being that long
already. The loops take turns, eight tokens each, in several rounds, so that whatever else the machine does meets all of
them alike; ratios are taken round by round, and their median is what counts. The read limit is the time in which memory
gives the bytes of all weights that a token needs, at the rate measured in between.

Ends with status 1 where a target is missed.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from tqdm import tqdm

from axon_widget.checks.speed import in_turn, our_loop, plain_loop, ratios, timed
from axon_widget.trace import TokenStep
from tests.benchmarks.shape import FEATURES, HOOK, make_hooked, make_tracer, word

LENGTHS = (40, 160)
TOKENS = 8  # timed in each round: as many before each length as after it
LOOPS = ("plain", "ours", "axon")
MOST_OF_PLAIN = 1.15
LEAST_OF_AXON = {40: 6.0, 160: 8.0}

Times = dict[str, dict[int, list[list[float]]]]


def counting(steps: Iterator[TokenStep], firing: list[int]) -> Iterator[TokenStep]:
    """(b): give the steps as they come and note how many features fire."""
    for step in steps:
        assert not step.special
        firing.append(step.l0)
        yield step


def axon_loop(hooked: Any, sae: Any, ids: list[int]) -> Iterator[None]:
    """(c): everything again for each token."""
    ids = list(ids)
    while True:
        # Its own tensors carry no gradient either.
        with torch.inference_mode():
            logits, cache = hooked.run_with_cache(torch.tensor([ids]), names_filter=HOOK)
            sae.encode(cache[HOOK][0, -1:])
            ids.append(int(logits[0, -1].argmax()))
        yield


def measure(rounds: int) -> tuple[Times, dict[str, Any]]:
    """Run all loops in turn and give each one's milliseconds: loop, length, round, token."""
    tracer = make_tracer()
    model, sae = tracer.model.plain, tracer.readers[0].sae
    hooked = make_hooked(model)
    weights = {id(p): p.nbytes for p in model.parameters()}  # the unembedding is the embedding: counted once
    needed = sum(weights.values()) + sae.W_enc.nbytes
    block = torch.ones(128 * 2**20)
    generator = torch.Generator().manual_seed(2)

    times: Times = {loop: {n: [] for n in LENGTHS} for loop in LOOPS}
    reading: list[float] = []
    firing: list[int] = []
    # The first round warms caches and allocators up and does not count.
    with tqdm(total=(rounds + 1) * len(LENGTHS) * TOKENS * len(LOOPS), unit="token", desc="three loops in turn") as bar:
        for counted in range(-1, rounds):
            for length in LENGTHS:
                ids = torch.randint(0, 50_000, (length - TOKENS // 2 - 1,), generator=generator).tolist()
                prompt = " ".join(map(word, ids))
                ids = tracer.vocabulary.encode(prompt, tracer.model.context)
                loops = {
                    "plain": plain_loop(model, ids),
                    "ours": counting(our_loop(tracer, prompt, TOKENS + 1), firing),
                    "axon": axon_loop(hooked, sae, ids),
                }
                took = in_turn(loops, TOKENS)
                bar.update(TOKENS * len(LOOPS))
                reading.append(timed(block.sum))
                if counted >= 0:
                    for name in LOOPS:
                        times[name][length].append(took[name])
    bandwidth = block.nbytes / statistics.median(reading) * 1e3
    facts = {
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "weights_mb": needed / 1e6,
        "read_gb_per_s": bandwidth / 1e9,
        "read_limit_ms": needed / bandwidth * 1e3,
        "features_firing": statistics.mean(firing),
    }
    return times, facts


def figures(times: Times, facts: dict[str, Any]) -> dict[str, Any]:
    """Reduce the readings to medians, paired ratios and whether the targets are met."""
    result: dict[str, Any] = {**facts, "ms": {}, "ratios": {}, "met": True}
    for length in LENGTHS:
        rounds = {loop: times[loop][length] for loop in LOOPS}
        ms = {loop: statistics.median([x for r in times[loop][length] for x in r]) for loop in LOOPS}
        over_plain = statistics.median(ratios(rounds["ours"], rounds["plain"]))
        under_axon = statistics.median(ratios(rounds["axon"], rounds["ours"]))
        result["ms"][length] = ms
        result["ratios"][length] = {"ours/plain": over_plain, "axon/ours": under_axon}
        result["met"] &= over_plain <= MOST_OF_PLAIN and under_axon >= LEAST_OF_AXON[length]
    return result


def table(result: dict[str, Any]) -> str:
    """Lay the figures out."""
    ms, ratios = result["ms"], result["ratios"]
    columns = "".join(f"{f'at {n} tokens':>16}" for n in LENGTHS)
    rows = [
        f"gpt2-small's shape, random weights; autoencoder {FEATURES:,} wide at {HOOK}, "
        f"{result['features_firing']:.0f} features firing; {result['threads']} threads",
        "",
        f"{'ms per token (median)':<44}{columns}",
        _row("(a) plain Hugging Face loop with cache", [f"{ms[n]['plain']:.1f}" for n in LENGTHS]),
        _row("(b) ours, features included", [f"{ms[n]['ours']:.1f}" for n in LENGTHS]),
        _row("(c) AXON's way", [f"{ms[n]['axon']:.1f}" for n in LENGTHS]),
        _row(
            f"read limit ({result['weights_mb']:.0f} MB at {result['read_gb_per_s']:.1f} GB/s)",
            [f"{result['read_limit_ms']:.1f}"] * len(LENGTHS),
        ),
        _row("b / a", [f"{ratios[n]['ours/plain']:.2f}" for n in LENGTHS], f"<= {MOST_OF_PLAIN}"),
        _row(
            "c / b",
            [f"{ratios[n]['axon/ours']:.1f}" for n in LENGTHS],
            ">= " + ", ".join(f"{LEAST_OF_AXON[n]:.0f}" for n in LENGTHS),
        ),
    ]
    return "\n".join(rows)


def _row(name: str, cells: list[str], target: str = "") -> str:
    return f"{name:<44}" + "".join(f"{cell:>16}" for cell in cells) + (f"    target {target}" if target else "")


def main() -> int:
    """Measure, print the table, and say by the exit status whether the targets are met."""
    parser = argparse.ArgumentParser(description="Milliseconds per token: plain Hugging Face, ours, AXON's way.")
    parser.add_argument("--rounds", type=int, default=6, help="how often each loop is measured (default 6)")
    parser.add_argument("--threads", type=int, help="PyTorch threads (default: its own choice)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    times, facts = measure(options.rounds)
    result = figures(times, facts)
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    print("targets met" if result["met"] else "A TARGET IS MISSED")
    return 0 if result["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
