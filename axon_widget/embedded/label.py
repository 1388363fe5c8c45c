"""Label the features of a shipped model's autoencoders from held-out text, and score the labels.

``python -m axon_widget.embedded.label --model stories15m`` writes ``labels.sqlite3`` beside each autoencoder that has
none yet, and the text once for all of them, ``texts.sqlite3``. A label is a rule that says on which tokens the feature
fires, see `axon_widget.embedded.rules`: the best that is found on the even rows of the text. Its score is measured on
the odd ones. Nobody read the features, and no other model named them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from tqdm import tqdm

from axon_widget.embedded.activations import load_model, load_sae
from axon_widget.embedded.firing import Firing, Floats, Ints, Text, text_of, watch
from axon_widget.embedded.recipes import RECIPES, Recipe, arguments
from axon_widget.embedded.rules import LONG, Half, Lexicon, draw, find, peaks, score
from axon_widget.engine.vocabulary import Vocabulary
from axon_widget.labels import DENSE, bundle
from axon_widget.labels.bundle import More, Summary

log = logging.getLogger(__name__)

CLEAR = 0.75
"""A rule with a lower score is no label: at best it misses every second firing or holds in every second silence."""
UNCLEAR = "unclear"
FEWEST = 10  # snippets of either kind, below which nothing is scored
MAKING, SCORING = 200, 100  # snippets in which a feature fires: to make a rule of, to score it on
DRAWN = 2000  # snippets of each half of the text, among which are the silent ones
CONTEXTS = 10
SEEN = 5  # a token must have been seen this often to be named among the boosted ones
LIFT = 2.0  # and a feature must be this much stronger on a token than on average to be said to fire on it
FIRES_ON, BOOSTS, SUPPRESSES = 8, 8, 5
SOURCE = (
    "A rule that a program found in one half of {tokens:,} held-out tokens ({dataset}) and scored on the other half; "
    "unclear below {clear:g}."
)
SCORED_BY = "balanced accuracy on held-out text, chance .5"


class Material(NamedTuple):
    """What all autoencoders of a model are labelled from."""

    text: Text
    lexicon: Lexicon
    making: Half
    scoring: Half
    seen: Ints

    @classmethod
    def of(cls, text: Text, texts: list[str]) -> Material:
        """Prepare a text; `texts` says what each token says."""
        lexicon = Lexicon(texts)
        making, scoring = (Half(text, lexicon, parity, DRAWN, seed=parity) for parity in (0, 1))
        return cls(text, lexicon, making, scoring, np.bincount(text.tokens[text.counted], minlength=len(texts)))


def token_texts(tokenizer: Any) -> list[str]:
    """Give what each token of the vocabulary says, with its leading space; special ones say nothing."""
    vocabulary = Vocabulary(tokenizer)
    return ["" if token in vocabulary.special else vocabulary.name(token) for token in range(len(tokenizer))]


def name(material: Material, feature: int, places: Ints, values: Floats, dense: bool) -> tuple[str, str, float | None]:
    """Give a feature's label, its rule in full, and the rule's score; None where it fires too seldom for one."""
    rng = np.random.default_rng(feature)
    making, scoring = material.making, material.scoring
    silent = [half.silent(places) for half in (making, scoring)]
    firing = [peaks(places[mine], values[mine]) for half in (making, scoring) for mine in [half.mine(places)]]
    if min(len(found) for found in (*silent, *(at for at, _ in firing))) < FEWEST:
        return _unnamed(material, feature, places, dense), "", None
    rule = find(making, draw(*firing[0], MAKING, rng), silent[0])
    if not rule.conditions:
        return _unnamed(material, feature, places, dense), "", 0.5
    # As many silent snippets as firing ones score it.
    quiet = rng.permutation(silent[1])[:SCORING]
    worth = round(score(scoring, rule, draw(*firing[1], len(quiet), rng), quiet), 3)
    said = rule.said(material.lexicon)
    if worth < CLEAR:
        return _unnamed(material, feature, places, dense), f"best guess: {said}", worth
    return rule.said(material.lexicon, LONG), said, worth


def _unnamed(material: Material, feature: int, places: Ints, dense: bool) -> str:
    if dense:
        return f"dense: fires on {len(places) / material.text.counted.sum():.0%} of tokens"
    return f"{UNCLEAR} #{feature}"  # with its number, as others in the same list are unclear too


def top_contexts(text: Text, places: Ints, values: Floats) -> list[tuple[int, list[float]]]:
    """Give the places of a feature's strongest firings, each in a row of its own as far as there are enough."""
    strongest = places[np.argsort(-values, kind="stable")]
    first = np.unique(strongest // text.context, return_index=True)[1]
    chosen = [int(place) for place in strongest[np.sort(first)[:CONTEXTS]]]
    for place in strongest[: 40 * CONTEXTS]:
        if len(chosen) == CONTEXTS:
            break
        if all(abs(place - other) > bundle.BEFORE + bundle.AFTER for other in chosen):
            chosen.append(int(place))
    contexts: list[tuple[int, list[float]]] = []
    for place in chosen:
        around = np.arange(place - bundle.BEFORE, place + bundle.AFTER + 1)
        at = np.searchsorted(places, around).clip(max=len(places) - 1)
        here = (places[at] == around) & (around // text.context == place // text.context)
        contexts.append((place, np.where(here, values[at], 0).tolist()))
    return contexts


def fires_on(material: Material, places: Ints, values: Floats) -> list[tuple[int, float]]:
    """Give the tokens with the largest sums of activation, where it is stronger than on average, with the means."""
    tokens, at = np.unique(material.text.tokens[places], return_inverse=True)
    sums, counts = np.bincount(at, values), np.bincount(at)
    # A feature that fires a little on everything is not about the commonest words.
    lifted = sums >= LIFT * values.sum() / material.text.counted.sum() * material.seen[tokens]
    order = np.argsort(-sums * lifted, kind="stable")[:FIRES_ON]
    return [(int(tokens[i]), float(sums[i] / counts[i])) for i in order if lifted[i]]


@torch.inference_mode()
def direct_effects(model: Any, sae: Any, seen: Ints) -> Iterator[tuple[list[int], list[int]]]:
    """Give for each feature the tokens that it boosts and suppresses most on the direct path to the logits.

    The weight on a token is ``(W_dec * gamma) @ W_U``: the final RMSNorm's scale is held fixed, which orders tokens
    alike, and later layers are left out. Tokens that were hardly seen are no part of it.
    """
    gamma, unembedding = model.model.norm.weight, model.lm_head.weight
    rare = torch.from_numpy(seen < SEEN).to(unembedding.device)
    for decoder in sae.W_dec.to(unembedding.dtype).split(256):
        effects = (decoder * gamma) @ unembedding[: len(rare)].T
        best = effects.masked_fill(rare, -torch.inf).topk(BOOSTS).indices
        worst = effects.masked_fill(rare, torch.inf).topk(SUPPRESSES, largest=False).indices
        yield from zip(cast(list[list[int]], best.tolist()), cast(list[list[int]], worst.tolist()), strict=True)


def describe(
    material: Material, firing: Firing, effects: Iterator[tuple[list[int], list[int]]]
) -> Iterator[tuple[int, Summary, More]]:
    """Describe every feature that fired."""
    total = int(material.text.counted.sum())
    counts = np.array([len(firing.of(feature)[0]) for feature in range(firing.width)])
    dense_from = DENSE * counts[counts > 0].mean()
    for feature, (boosts, suppresses) in enumerate(effects):
        places, values = firing.of(feature)
        if not len(places):
            continue
        label, rule, worth = name(material, feature, places, values, bool(counts[feature] > dense_from))
        yield (
            feature,
            Summary(
                label,
                rule,
                worth,
                float(f"{len(places) / total:.4g}"),
                round(float(values.max()), 4),
            ),
            More(
                fires_on(material, places, values),
                boosts,
                suppresses,
                top_contexts(material.text, places, values),
            ),
        )


def main(arguments_given: Sequence[str] | None = None) -> None:
    """Run the labelling from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--tokens", type=int, help="held-out tokens (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the held-out text (%(default)s)")
    parser.add_argument("--hooks", nargs="+", help="label only those at these hook points")
    parser.add_argument("--again", action="store_true", help="label those again that are labelled")
    options = parser.parse_args(arguments_given)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = RECIPES[options.model]
    folder: Path = options.out or recipe.model.saes
    tokens = options.tokens or recipe.labelled
    rows = recipe.rows(options.work, "held-out", options.seed, tokens, options.device)
    label(recipe, folder, options.hooks or tuple(recipe.hooks), rows, options.device, options.again)


def label(
    recipe: Recipe, folder: Path, hooks: list[str] | tuple[str, ...], rows: torch.Tensor, device: str, again: bool
) -> None:
    """Label the autoencoders at these hook points from rows of text, those that are not labelled from it yet."""
    ids = rows.numpy().astype(np.int64)
    text = {"digest": bundle.digest(ids)}
    of = {hook: {**text, "weights": bundle.digest_of(folder / hook / "sae_weights.safetensors")} for hook in hooks}
    todo = [hook for hook in hooks if again or not _made_from(folder / hook / bundle.LABELS, of[hook])]
    if not todo:
        log.info("all are labelled from this text; --again labels them again")
        return
    model = load_model(recipe.directory(), device)
    texts = token_texts(model.bridge.tokenizer)
    if not _made_from(folder / bundle.TEXTS, text):
        bundle.write_texts(folder, ids, texts)
    material = Material.of(text_of(recipe, rows), texts)
    saes = {hook: load_sae(folder / hook, device) for hook in todo}
    tokens = int(material.text.counted.sum())
    for hook, firing in watch(model, saes, recipe, rows).items():
        told = {
            "source": SOURCE.format(tokens=tokens, dataset=recipe.dataset, clear=CLEAR),
            "scored_by": SCORED_BY,
            **of[hook],
            "model": recipe.model.name,
            "hook": hook,
            "tokens": str(tokens),
            "clear": str(CLEAR),
        }
        found = describe(material, firing, direct_effects(model.plain, saes[hook], material.seen))
        bundle.write_labels(folder / hook, told, tqdm(found, desc=hook, total=firing.width, unit="feature"))


def _made_from(path: Path, of: dict[str, str]) -> bool:
    """Tell whether a file is there and says that it was made from this."""
    try:
        return path.is_file() and of.items() <= bundle.about(path).items()
    except ValueError:
        return False


if __name__ == "__main__":
    main()
