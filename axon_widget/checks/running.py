"""Checks 2, 3 and 5: the same prompt gives the same features, long texts and odd ones do no harm."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from axon_widget.checks.invariants import problems
from axon_widget.checks.result import Result, Say
from axon_widget.engine.sampling import Sampling
from axon_widget.trace import Trace

if TYPE_CHECKING:
    from axon_widget.engine.tracer import Tracer

REPEATS, LENGTH, EDGES = "repeats", "length", "edges"

PROMPT = "Once upon a time there was a city by the sea"
TIMES, WRITTEN = 3, 24
TOLERANCE = 1e-5
"""How far, as a share of it, an activation may be from what it was: some GPU kernels add in no fixed order."""

_TOLD = 6  # problems, at most

CASES = {
    "one token": "a",
    "mathematics": "If x² + y² = 25 and x = -3, then y = ±4, because ∑ᵢ aᵢ ≤ 10⁻³ ⇒ √16 = 4.",
    "code": 'def add(a, b):\n\treturn a + b  # {"sum": 5}\n\nprint(add(2, 3) == 5 && !false);',
    "emoji": "I am happy 😀 and we fly 🚀🚀 with 👩‍🚀 and 👨‍👩‍👧‍👦!",
    "Chinese": "今天天气很好，我们一起去公园玩吧。",
    "2,000 spaces": " " * 2000,
    "2,000 spaces between words": "The dog" + " " * 2000 + "ran",
    "nothing": "",
}


def repeats(tracer: Tracer, say: Say) -> Result:
    """Check that the same prompt, written on greedily from an empty cache, gives the same tokens and features."""
    runs: list[Trace] = []
    for time in range(TIMES):
        say(f"run {time + 1} of {TIMES}")
        runs.append(tracer.run(PROMPT, temperature=0, max_tokens=WRITTEN, seed=0))
    looked_at = f"“{PROMPT}” and what follows greedily, {len(runs[0])} tokens, {TIMES} times on empty caches."
    first, *others = runs
    if not any(step.features for step in first):
        return Result(REPEATS, "fail", "No feature fires.", looked_at)
    furthest = 0.0
    for other in others:
        same = [step.token_id for step in other] == [step.token_id for step in first]
        for a, b in zip(first, other, strict=False):
            before, after = ({(f.sae, f.id): f.activation for f in step.features} for step in (a, b))
            if not same and a.token_id != b.token_id:
                return Result(REPEATS, "fail", f"Token {a.step} is another one the next time.", looked_at)
            if not all(map(math.isfinite, (*before.values(), *after.values()))):
                return Result(REPEATS, "fail", f"On token {a.step} an activation is not finite.", looked_at)
            if before.keys() != after.keys():
                found = f"On token {a.step}, {len(before.keys() ^ after.keys())} features fire in one run alone."
                return Result(REPEATS, "fail", found, looked_at)
            furthest = max([furthest, *(abs(before[f] - after[f]) / max(abs(before[f]), 1e-9) for f in before)])
        if not same:
            return Result(REPEATS, "fail", "One run is shorter than another.", looked_at)
    count = sum(step.l0 for step in first)
    figures = {"tokens": len(first), "activations": count, "largest_difference": furthest}
    alike = "the same to the last bit" if furthest == 0 else f"the same but for {furthest:.1e} of them"
    found = f"The tokens, the features and their {count:,} activations are {alike} (at most {TOLERANCE:.0e} passes)."
    return Result(REPEATS, "pass" if furthest <= TOLERANCE else "fail", found, looked_at, figures=figures)


def length(tracer: Tracer, say: Say, tokens: int) -> Result:
    """Check that so many tokens can be written, as far as the context goes, and that the trace of them is whole.

    Where the model ends its text, it is made to go on behind the end.
    """
    trace, ends = Trace(), set[int]()
    settings = Sampling(max_tokens=tokens)
    steps = tracer.stream(PROMPT, settings, seed=0, trace=trace)
    while True:
        for step in steps:
            if step.generated:
                say(f"{sum(s.generated for s in trace)} of {tokens} tokens")
        written = sum(step.generated for step in trace)
        if trace.finish != "eos" or written >= tokens:
            break
        ends.add(len(trace) - 1)
        steps = tracer.resume(trace, sampling=replace(settings, max_tokens=tokens - written), seed=0)
    context = tracer.model.context
    looked_at = f"“{PROMPT}” and what follows at temperature {settings.temperature}, seed 0."
    found = f"{written} of {tokens} tokens written; the context holds {context}."
    if written < tokens:
        found = (
            f"{written} of {tokens} tokens written: with the prompt's {len(trace) - written} they fill the context of "
            f"{context}, where writing stops."
        )
    window = getattr(tracer.model.plain.config, "sliding_window", None)
    if window and len(trace) > window:
        found += f" The {len(trace)} tokens are more than the sliding window of {window}."
    wrong = problems(tracer, trace, ends)
    if written < tokens and (trace.finish, len(trace)) != ("context", context):
        wrong.insert(0, f"The run ended ({trace.finish}) before the context was full.")
    found += " " + (wrong[0] if wrong else "Every step is whole.")
    figures: dict[str, Any] = {
        "written": written,
        "asked": tokens,
        "context": context,
        "ends_of_text": len(ends),
        "finish": trace.finish,
        "problems": len(wrong),
    }
    if len(wrong) > _TOLD:
        wrong[_TOLD - 1 :] = [f"There are {len(wrong) - _TOLD + 1} more such problems."]
    details = (*wrong[1:], *([f"The model ended its text and was made to go on (ends: {len(ends)})."] if ends else ()))
    return Result(LENGTH, "fail" if wrong else "pass", found, looked_at, details, figures)


def edges(tracer: Tracer, say: Say) -> Result:
    """Check that odd prompts give a whole trace or a clear sentence."""
    outcomes = {name: _edge(tracer, text, say, name) for name, text in CASES.items()}
    failed = [name for name, (good, _) in outcomes.items() if not good]
    whole = sum(good and "refused" not in told for good, told in outcomes.values())
    found = f"{whole} of {len(CASES)} give a whole trace, {len(CASES) - whole - len(failed)} a clear sentence"
    found += f", {len(failed)} fail: {', '.join(failed)}." if failed else "."
    figures = {name: {"good": good, "told": told} for name, (good, told) in outcomes.items()}
    details = tuple(f"{name}: {told}" for name, (_, told) in outcomes.items())
    return Result(EDGES, "fail" if failed else "pass", found, f"{', '.join(CASES)}.", details, figures)


def _edge(tracer: Tracer, text: str, say: Say, name: str) -> tuple[bool, str]:
    """Tell whether a prompt did as it should, and what it did."""
    say(name)
    trace = Trace()
    try:
        steps = tracer.stream(text, temperature=0, max_tokens=4, trace=trace)
    except ValueError as error:
        sentence = str(error).strip()
        return bool(sentence), f"refused: {sentence or 'but nobody said why'}"
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
    try:
        for _ in steps:
            pass
        wrong = problems(tracer, trace)
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
    if wrong:
        return False, wrong[0]
    shown = [step.l0 for step in trace if step.read]
    least, most = min(shown, default=0), max(shown, default=0)
    return True, f"{len(trace)} tokens, {least if least == most else f'{least} to {most}'} features on each"
