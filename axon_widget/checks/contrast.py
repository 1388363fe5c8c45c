"""Check 6: two kinds of text share fewer than half of their features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from axon_widget.checks.result import Result, Say, read, together
from axon_widget.checks.topics import TOPICS
from axon_widget.trace import Origin

if TYPE_CHECKING:
    from axon_widget.engine.features import Reading
    from axon_widget.engine.tracer import Tracer

NAME = "contrast"
MOST = 0.5
"""The share of the features that two kinds of text may have in common."""
STRONG = 0.5
"""A feature belongs to a text where it comes to this share of its known maximum there."""
LEAST = 10
"""Of fewer features a share says nothing."""

STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the sunshine. One day, she saw "
    'a big red ball in the park. "Can I play with it?" she asked her mom. Her mom smiled and said yes. Lily was very '
    "happy. She threw the ball up in the air and ran after it. A little dog came and wanted to play too. They played "
    "all day, and when the sun went down they went home together. They became the best of friends."
)
ANOTHER_STORY = (
    "One day, a boy called Tom went to the forest with his father. They wanted to find a tall tree and climb it. Tom "
    'was scared, but his father held his hand. "Do not worry," he said. They looked up and saw a bird in its nest. '
    "The bird sang a nice song for them. Tom laughed and clapped his hands. He was not scared any more. When they came "
    "home, Tom told his sister about the bird and the tall tree, and she wanted to go there too."
)
CODE = (
    "import sys\n\ndef count(path, words={}):\n    with open(path) as file:\n        for line in file:\n            "
    'for key in line.split(";"):\n                words[key] = words.get(key, 0) + 1\n    return words\n\n'
    'if __name__ == "__main__":\n    result = count(sys.argv[1])\n    for key, value in sorted(result.items()):\n'
    '        print(f"{key}={value:04d}")\n    assert len(result) > 0, "empty"\n    sys.exit(0)\n'
)


def check(tracer: Tracer, say: Say) -> Result:
    """Check that a story and a program share fewer than half of their features.

    A feature belongs to a text where it comes to half of its known maximum: nearly every feature fires faintly
    somewhere in a hundred tokens, and faint firing says little. What is shared is a share of the smaller set, so that
    less than half of it is less than half of either. The texts are cut to the same number of tokens, as longer ones
    have more features. Dense features, which fire nearly everywhere, count too; the share without them is told as well.

    Two stories are compared in the same way: where they share no more than story and program do, the features do not
    tell kinds of text apart but every text from every other, and nothing is judged.
    """
    texts: list[list[list[Reading]]] = []
    for kind, text in (("story", STORY), ("program", CODE), ("story", ANOTHER_STORY)):
        say(f"a {kind}")
        texts.append(read(tracer, text))
    length = min(map(len, texts))
    others = [tokens for text, _ in TOPICS.values() for tokens in read(tracer, text)]
    whole = [*(tokens for text in texts for tokens in text), *others]
    looked_at = (
        f"A story, a program and another story, the first {length} tokens of each. A feature counts where it comes to "
        f"{STRONG:.0%} of its known maximum, or of that in {len(whole)} tokens where none is known."
    )
    results = [
        _of_sae(
            tracer,
            sae,
            [[readings[sae] for readings in text[:length]] for text in texts],
            _peaks([readings[sae] for readings in whole]),
            looked_at,
        )
        for sae in range(len(tracer.readers))
    ]
    return together(NAME, Origin(saes=tracer.saes).titles, results, looked_at)


def _of_sae(
    tracer: Tracer, sae: int, texts: Sequence[Sequence[Reading]], maxima: dict[int, float], looked_at: str
) -> Result:
    labels = tracer.readers[sae].labels
    tokens = Counter(feature for text in texts for reading in text for feature in reading.ids)
    known = {feature: label.max_activation for feature in tokens if (label := labels.get(feature))}
    strong: list[set[int]] = []
    for text in texts:
        peaks = _peaks(text)
        strong.append({f for f, peak in peaks.items() if peak >= STRONG * (known.get(f) or maxima[f])})
    every = sum(map(len, texts))
    dense = {
        feature
        for feature, count in tokens.items()
        # Where nobody counted how often it fires, a dense one is on half of these texts' tokens.
        if (count > every / 2 if (told := tracer.dense(feature, sae)) is None else told)
    }
    story, program, other = strong
    sparse = [of - dense for of in (story, program)]
    figures = {
        "story": len(story),
        "program": len(program),
        "both": len(story & program),
        "share": shared(story, program),
        "share_without_dense": shared(*sparse),
        "share_of_two_stories": shared(story, other),
        "dense": len(dense & (story | program)),
        "maxima_known": len(set(known) & (story | program)),
    }
    if min(len(story), len(program), len(other)) < LEAST:
        few = f"{len(story)}, {len(program)} and {len(other)}"
        found = f"Only {few} features fire strongly on these texts: at least {LEAST} are needed."
        return Result(NAME, "not judged", found, looked_at, figures=figures)
    share, alike = figures["share"], figures["share_of_two_stories"]
    found = (
        f"Story ({len(story)} features) and program ({len(program)}) share {len(story & program)}, "
        f"{share:.1%} of the smaller set ({figures['share_without_dense']:.1%} without dense features; less than "
        f"{MOST:.0%} passes). Two stories share {alike:.1%}."
    )
    if share >= MOST:
        return Result(NAME, "fail", found, looked_at, figures=figures)
    if alike <= share:
        found += " These features tell text from text, not kind from kind."
        return Result(NAME, "not judged", found, looked_at, figures=figures)
    return Result(NAME, "pass", found, looked_at, figures=figures)


def shared(one: set[int], other: set[int]) -> float:
    """Give the share of the smaller of two sets that is in both; 0 where it is empty."""
    return len(one & other) / max(min(len(one), len(other)), 1)


def _peaks(text: Sequence[Reading]) -> dict[int, float]:
    found: dict[int, float] = {}
    for reading in text:
        for feature, activation in zip(reading.ids, reading.activations, strict=True):
            found[feature] = max(found.get(feature, 0.0), activation)
    return found
