"""Check 4: how long a token takes beside the plain Hugging Face loop. Loops take turns; ratios are taken in pairs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from axon_widget.checks.result import Result, Say
from axon_widget.trace import TokenStep

if TYPE_CHECKING:
    from axon_widget.engine.tracer import Tracer

NAME = "speed"
ROUNDS, TOKENS = 9, 8
MOST, MOST_FOR_EACH = 1.5, 0.5
"""How many times the plain loop's time a token may take: so often, and so much more for each SAE."""
_TIE = 0.01  # probabilities that differ by less may change places: the same products are added up in another order

PROMPT = (
    "Once upon a time, there was a city by the sea. The people who lived there had a big red boat, and every day they "
    "went out to look for fish"
)


def plain_loop(model: Any, ids: Sequence[int]) -> Iterator[int]:
    """Write greedily with the KV cache, no features; gives each token. The first step reads the prompt."""
    with torch.inference_mode():
        out = model(torch.tensor([ids], device=model.device), use_cache=True)
        while True:
            token = out.logits[:, -1:].argmax(-1)
            yield int(token)
            out = model(token, past_key_values=out.past_key_values, use_cache=True)


def our_loop(tracer: Tracer, prompt: str, tokens: int) -> Iterator[TokenStep]:
    """Write the same through `Tracer.stream`; gives each step. The first one reads the prompt too."""
    for step in tracer.stream(prompt, temperature=0, repetition_penalty=1, max_tokens=tokens, seed=0):
        if step.generated:
            yield step


def timed(action: Callable[[], Any]) -> float:
    """Give the milliseconds something takes."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


def in_turn(loops: Mapping[str, Iterator[Any]], tokens: int) -> dict[str, list[float]]:
    """Let loops take turns, each for its prompt and so many tokens; give the tokens' milliseconds.

    What a machine does besides comes and goes: loops that run close to each other meet the same.
    """
    took: dict[str, list[float]] = {}
    for name, loop in loops.items():
        next(loop)  # the prompt
        took[name] = [timed(lambda loop=loop: next(loop)) for _ in range(tokens)]
    return took


def ratios(above: Sequence[Sequence[float]], below: Sequence[Sequence[float]]) -> list[float]:
    """Give, round by round, the ratio of the medians of two loops' times."""
    return [statistics.median(a) / statistics.median(b) for a, b in zip(above, below, strict=True)]


def check(tracer: Tracer, say: Say) -> Result:
    """Check how long a token takes, its features included, beside the plain loop that writes the same tokens.

    The SAEs' own work and the record of what fires are not in the plain loop, so the limit grows with their number.
    """
    ids = tracer.vocabulary.encode(PROMPT, len(PROMPT) * 8)
    room = tracer.model.context - len(ids)
    most = MOST + MOST_FOR_EACH * len(tracer.readers)
    looked_at = (
        f"{ROUNDS} rounds of {TOKENS} tokens behind {len(ids)}, greedy, the loops in turn; PyTorch's threads: "
        f"{torch.get_num_threads()}, device: {tracer.model.device}."
    )
    if room <= TOKENS:
        return Result(NAME, "not judged", f"The context of {tracer.model.context} is too short to time.", looked_at)
    times: dict[str, list[list[float]]] = {"plain": [], "ours": []}
    # The first round warms caches and allocators up and does not count.
    for counted in range(-1, ROUNDS):
        say(f"round {counted + 1} of {ROUNDS}")
        written: dict[str, list[Any]] = {"plain": [], "ours": []}
        loops: dict[str, Iterator[Any]] = {
            "plain": plain_loop(tracer.model.plain, ids),
            "ours": our_loop(tracer, PROMPT, TOKENS + 1),
        }
        noting = {name: _noting(loop, written[name]) for name, loop in loops.items()}
        try:
            took = in_turn(noting, TOKENS)
        except StopIteration:
            return Result(NAME, "not judged", "The model ends its text before there is anything to time.", looked_at)
        if other := _other(written["plain"], written["ours"]):
            return Result(NAME, "fail", other, looked_at)
        if counted >= 0:
            for name, of in took.items():
                times[name].append(of)
    each = sorted(ratios(times["ours"], times["plain"]))
    ratio = statistics.median(each)
    ms = {name: statistics.median(x for took in of for x in took) for name, of in times.items()}
    found = (
        f"{ms['ours']:.1f} ms a token, {ms['plain']:.1f} ms in the plain Hugging Face loop: {ratio:.2f} times as long "
        f"(rounds {each[0]:.2f} to {each[-1]:.2f}; at most {most:.2f} passes)."
    )
    figures = {"ms": ms, "ratio": ratio, "rounds": each, "most": most, "threads": torch.get_num_threads()}
    return Result(NAME, "pass" if ratio <= most else "fail", found, looked_at, figures=figures)


def _noting(loop: Iterator[Any], notes: list[Any]) -> Iterator[Any]:
    for one in loop:
        notes.append(one)
        yield one


def _other(plain: Sequence[int], ours: Sequence[TokenStep]) -> str:
    """Say where the two write other tokens, ties left out; empty where they do not."""
    for n, (token, step) in enumerate(zip(plain, ours, strict=False)):
        if token != step.token_id:
            chances = {a.token_id: a.probability for a in step.alternatives}
            if abs(chances.get(token, 0.0) - chances.get(step.token_id, 1.0)) < _TIE:
                return ""
            return f"The plain loop writes another token as number {n + 1}, so the times cannot be compared."
    return ""
