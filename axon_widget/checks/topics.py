"""Check 1: features fire on texts of the topic that their labels name."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from axon_widget.checks.result import Result, Say, read, together
from axon_widget.labels import Label
from axon_widget.labels.text import clean
from axon_widget.trace import Origin

if TYPE_CHECKING:
    from axon_widget.engine.tracer import Tracer

NAME = "topics"
LEVEL, TIMES = 0.01, 2.0
"""How seldom chance may do as well; and how many times more must be right than chance has right."""
_PATIENCE = 60.0  # seconds to wait for labels that are on their way
_SOURCE = 160  # characters of where labels come from
_WORD = re.compile(r"[^\W\d_]+")

# Each topic: a text that children's stories and the wide world share, and words that name it. No text holds another
# topic's words.
TOPICS: dict[str, tuple[str, str]] = {
    "animals": (
        "The dog and the cat saw a bird. A rabbit, a fox and a bear came out of the forest. The horse stood beside the "
        "cow and the sheep, and a little mouse ran away from the big lion. A frog and a fish swam with the duck.",
        "animal dog puppy cat kitten kitty bird rabbit bunny fox bear horse pony cow sheep mouse mice lion tiger frog "
        "fish duck pig elephant monkey wolf wolves squirrel turtle snake bug bee butterfly pet creature mammal insect "
        "species dinosaur chicken owl giraffe zebra",
    ),
    "food": (
        "They ate soup and bread with butter and cheese. There was cake, an apple, a banana and a cookie, and they "
        "drank milk and juice. The cook made pasta, rice, meat and eggs with salt, sugar and fruit. It was delicious.",
        "food soup bread butter cheese cake apple banana cookie milk juice pasta pizza rice meat egg salt sugar fruit "
        "delicious tasty yummy eat ate eating eaten lunch dinner breakfast meal cook cooking drink drank snack candy "
        "chocolate carrot tomato vegetable sandwich hungry cream lemon honey berry berries kitchen recipe cuisine",
    ),
    "feelings": (
        "She was happy and excited, but he felt sad and lonely. First they were angry, afraid and worried; then they "
        "were proud, calm and glad. She began to laugh with joy, and he began to cry because he was scared.",
        "feeling feel felt feels emotion emotional happy happily happiness excited excitement sad sadness lonely angry "
        "anger afraid fear worried worry proud calm glad laugh laughed laughing joy cry cried crying tears scared "
        "smile smiled upset love loved hate nervous surprised grateful mad",
    ),
    "family": (
        "The mother and the father have a son and a daughter. The boy has a baby brother and a sister. His grandma and "
        "his grandpa came with an uncle, an aunt and a cousin. Mom and Dad are the parents of the children.",
        "family mother father mom mommy mum mummy dad daddy mama papa son daughter brother sister grandma grandpa "
        "grandmother grandfather uncle aunt cousin parent children child kid baby babies wife husband marriage",
    ),
    "weather": (
        "It was cold and windy. Dark clouds hid the sun in the sky, and rain and snow began to fall. There was a storm "
        "with thunder and lightning. Then the wind stopped, the ice melted, and a rainbow stood in the warm sunshine.",
        "weather cold windy cloud cloudy sun sunny sky rain rainy raining snow snowy snowing storm stormy thunder "
        "lightning wind ice rainbow warm sunshine fog hot climate temperature",
    ),
    "time": (
        "On Monday morning at seven o'clock the year began. Two hours later, at noon, ten minutes had passed. "
        "Yesterday, today and tomorrow are three days; a week has seven and a month has thirty. It is late at night.",
        "time monday tuesday wednesday thursday friday saturday sunday morning afternoon evening night noon o'clock "
        "clock hour minute second year month week day yesterday today tomorrow later late early january february "
        "march april june july august september october november december date century decade duration",
    ),
    "places": (
        "They walked from the house to the school, past the shop and the church, down the street into the town. From "
        "the city they went to Paris in France and to London in England, and home by the river and over the bridge.",
        "place location house home school shop store church street road town city cities village country countries "
        "paris france london england america europe river bridge park castle farm garden beach building hospital "
        "capital nation region geographical geographic",
    ),
}


def check(tracer: Tracer, say: Say) -> Result:
    """Check that labelled features fire on their own topic's text.

    A feature is taken to be of the topic whose words its label has; where that has none, the tokens it is said to fire
    on; where those have none, the words it fires on most in its contexts. Those of several topics are left out. It
    counts as right where its mean activation is larger on its topic's text than on any other's.

    What chance would do is told by giving the texts to the topics in every other order: p is the share of all orders
    in which as many or more features are right.
    """
    activations: list[list[dict[int, float]]] = [[] for _ in tracer.readers]
    for topic, (text, _) in TOPICS.items():
        say(f"a text about {topic}")
        tokens = read(tracer, text)
        for sae, of in enumerate(activations):
            sums: dict[int, float] = {}
            for readings in tokens:
                for feature, activation in zip(readings[sae].ids, readings[sae].activations, strict=True):
                    sums[feature] = sums.get(feature, 0.0) + activation / len(tokens)
            of.append(sums)
    fired = [{feature for sums in of for feature in sums} for of in activations]
    _wait(tracer, fired, say)
    looked_at = f"{len(TOPICS)} texts: {', '.join(TOPICS)}. Labels: " + "; ".join(
        dict.fromkeys(clean(r.labels.source, _SOURCE) or "none" for r in tracer.readers)
    )
    results = [_of_sae(tracer, sae, of, looked_at) for sae, of in enumerate(activations)]
    return together(NAME, Origin(saes=tracer.saes).titles, results, looked_at)


def _of_sae(tracer: Tracer, sae: int, activations: Sequence[dict[int, float]], looked_at: str) -> Result:
    labels = tracer.readers[sae].labels
    known = [(feature, labels.get(feature)) for feature in sorted({f for sums in activations for f in sums})]
    labelled = [(feature, label) for feature, label in known if label and (label.text or label.fires_on)]
    if not labelled:
        why = labels.status or "The features that fire have no labels."
        return Result(NAME, "not judged", why, looked_at)
    topics = list(TOPICS)
    counts = np.zeros((len(topics), len(topics)), dtype=np.int64)  # of features labelled so, that fire most there
    best: dict[int, tuple[float, str]] = {}
    for feature, label in labelled:
        topic = topic_of(label)
        if topic is None:
            continue
        sums = [each.get(feature, 0.0) for each in activations]
        named, there = topics.index(topic), int(np.argmax(sums))
        counts[named, there] += 1
        if named == there and sums[named] > best.get(named, (0.0, ""))[0]:
            best[named] = (sums[named], f"{topic}: feature {feature}, {label.text or label.fires_on[0][0]}")
    judged = int((counts.sum(1) > 0).sum())
    figures: dict[str, Any] = {
        "fired": len(known),
        "labelled": len(labelled),
        "of_a_topic": int(counts.sum()),
        "topics": judged,
        "by_topic": {t: [int(counts[i, i]), int(counts[i].sum())] for i, t in enumerate(topics)},
    }
    if judged < 3:
        # With two topics even the right order of the texts is one of 42.
        return Result(
            NAME,
            "not judged",
            f"Of {len(labelled)} labelled features that fire, {int(counts.sum())} are labelled with words of a topic, "
            f"of {judged} topics in all: at least 3 are needed.",
            looked_at,
            figures=figures,
        )
    right, chance, p = against_chance(counts)
    figures |= {"right": right, "chance": chance, "p": p}
    found = (
        f"{right} of {int(counts.sum())} features labelled with a topic's words ({right / counts.sum():.0%}) fire most "
        f"on that topic's text; {chance:.0%} where the texts change places (p = {p:.2g}; at most {LEVEL} passes, and "
        f"{TIMES:g} times as many)."
    )
    details = (
        "Right by topic: " + ", ".join(f"{t} {a}/{b}" for t, (a, b) in figures["by_topic"].items()),
        *(text for _, (_, text) in sorted(best.items())),
    )
    return Result(
        NAME,
        "pass" if p <= LEVEL and right >= TIMES * chance * counts.sum() else "fail",
        found,
        looked_at,
        details,
        figures,
    )


def against_chance(counts: np.ndarray[Any, Any]) -> tuple[int, float, float]:
    """Compare how many features are right with what other orders of the texts give.

    Parameters
    ----------
    counts
        By topic of the label and topic of the text: how many features of the one fire most on the other.

    Returns
    -------
    right, chance, p
        How many are right; the mean share that is where every text is given to each topic alike; and the share of all
        orders with as many right or more.
    """
    n = len(counts)
    orders = np.array(list(permutations(range(n))))
    right = counts[np.arange(n), orders].sum(1)
    return int(right[0]), float(right.mean() / counts.sum()), float((right >= right[0]).mean())


def topic_of(label: Label) -> str | None:
    """Give the topic that a label names; None where it names none, or several."""
    said = (
        _WORD.findall(label.text.casefold()),
        [token.strip().casefold() for token, _ in label.fires_on],
        [word for context in label.contexts for word in _peaks(context)],
    )
    for words in said:
        named = {topic for word in words for topic in (_TOPIC_OF.get(word), _TOPIC_OF.get(word.removesuffix("s")))}
        named.discard(None)
        if named:
            return named.pop() if len(named) == 1 else None
    return None


_TOPIC_OF = {word: topic for topic, (_, words) in TOPICS.items() for word in words.split()}


def _peaks(context: Sequence[tuple[str, float]]) -> Iterable[str]:
    """Give the words of a context that hold a token on which the feature fires at least half as much as at most."""
    most = max((activation for _, activation in context), default=0.0)
    text, strong = "", list[bool]()
    for token, activation in context:
        text += token
        strong += [most > 0 and activation >= most / 2] * len(token)
    return [word[0].casefold() for word in _WORD.finditer(text) if any(strong[word.start() : word.end()])]


def _wait(tracer: Tracer, fired: Sequence[Iterable[int]], say: Say) -> None:
    """Wait for labels that are on their way."""
    end = time.monotonic() + _PATIENCE
    for reader, features in zip(tracer.readers, fired, strict=True):
        for feature in features:
            reader.labels.get(feature)  # those that a function gives come once they were asked for
        while reader.labels.coming and time.monotonic() < end:
            say(reader.labels.status or "labels are on their way")
            time.sleep(0.1)
