"""Six checks of a model with its SAEs: what can be found out about any of them, and by which figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from axon_widget.checks.result import Result, Say, Verdict

if TYPE_CHECKING:
    from axon_widget.engine.tracer import Tracer

__all__ = ["NAMES", "Result", "Verdict", "check"]

NAMES = ("topics", "repeats", "length", "speed", "edges", "contrast")
"""The checks, in their order."""


def check(tracer: Tracer, tokens: int = 500, progress: Say | None = None) -> Iterator[Result]:
    """Check a model with its SAEs.

    1. topics: features whose labels name a topic fire most on a text about it.
    2. repeats: the same prompt gives the same tokens and features three times.
    3. length: many tokens are written without harm, as far as the context goes.
    4. speed: a token takes little longer than in the plain Hugging Face loop.
    5. edges: one token, mathematics, code, emoji, Chinese, spaces, nothing: a whole trace or a clear sentence.
    6. contrast: a story and a program share fewer than half of their features.

    Parameters
    ----------
    tracer
        The model.
    tokens
        How many tokens the third check writes.
    progress
        Is called with a sentence as a check goes on.

    Returns
    -------
    iterator of Result
        What each check found, one after the other. A check that breaks has failed; the others go on.

    Raises
    ------
    ValueError
        If `tokens` is less than 1.
    """
    if tokens < 1:
        raise ValueError(f"tokens={tokens} cannot be used: give 1 or more.")
    return _each(tracer, tokens, progress or (lambda _: None))


def _each(tracer: Tracer, tokens: int, progress: Say) -> Iterator[Result]:
    from axon_widget.checks import contrast, running, speed, topics

    runs: tuple[Callable[[Tracer, Say], Result], ...] = (
        topics.check,
        running.repeats,
        partial(running.length, tokens=tokens),
        speed.check,
        running.edges,
        contrast.check,
    )
    for number, (name, run) in enumerate(zip(NAMES, runs, strict=True), 1):

        def say(sentence: str, ahead: str = f"{number} of {len(NAMES)}, {name}: ") -> None:
            progress(ahead + sentence)

        try:
            result = run(tracer, say)
        except Exception as error:  # whatever it is: it is what the check found
            result = Result(name, "fail", f"It broke: {type(error).__name__}: {error}")
        yield result
