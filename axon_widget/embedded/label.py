"""Say of each feature of an embedded autoencoder what it fires on and what it boosts, and name it after that.

``python -m axon_widget.embedded.label`` writes ``labels.json`` beside the autoencoder. A label is made by
rule from counted tokens and from the weights; nobody read the features, and no other model named them.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, cast

import torch

from axon_widget.embedded import MODEL_NAME, sae_dir
from axon_widget.embedded.activations import batches, load_bridge, load_sae, read
from axon_widget.embedded.stories import counted, stories
from axon_widget.embedded.train import arguments

log = logging.getLogger(__name__)

LABEL_LENGTH = 40
SEEN = 5  # a token must have been seen this often to be named among the boosted ones
LIFT = 2.0  # and a feature must be this much stronger on a token than on average to be said to fire on it
BOOST = 3.5  # standard deviations by which a boosted token stands out, to be part of a label
SOURCE = (
    "Named by a rule, which nobody checked, from {tokens:,} tokens of {model}'s own held-out stories: "
    "the tokens it fires on → the tokens it boosts."
)
METHOD = (
    "fires_on: tokens by summed activation, of those on which the feature is at least {lift:g} times as strong as on "
    "average, with the mean activation where it fires; position 0 is left out. boosts, suppresses: by "
    "(W_dec * norm.weight) @ W_U, the direct path to the logits with the final RMSNorm's scale held fixed and later "
    "layers left out, of tokens seen at least {seen} times. label: the first tokens of fires_on, then those of boosts "
    "that stand out by {boost:g} standard deviations."
)


class Firing:
    """Sums over tokens of what each feature does on them."""

    def __init__(self, features: int, vocabulary: int) -> None:
        self.sums = torch.zeros(features, vocabulary)
        self.fires = torch.zeros(features, vocabulary)
        self.peaks = torch.zeros(features)
        self.seen = torch.zeros(vocabulary)

    def add(self, tokens: torch.Tensor, activations: torch.Tensor) -> None:
        """Add tokens, shape (n,), and the features' activations on them, shape (n, features)."""
        rows, features = activations.nonzero(as_tuple=True)
        values = activations[rows, features]
        at = features * self.sums.shape[1] + tokens[rows]
        self.sums.view(-1).index_add_(0, at, values)
        self.fires.view(-1).index_add_(0, at, torch.ones_like(values))
        self.peaks = torch.maximum(self.peaks, activations.amax(0))
        self.seen += torch.bincount(tokens, minlength=len(self.seen))


@torch.inference_mode()
def watch(bridge: Any, sae: Any, written: torch.Tensor) -> Firing:
    """Run the stories through the model and the autoencoder and sum up what fires."""
    firing = Firing(sae.cfg.d_sae, bridge.cfg.d_vocab)
    for tokens in batches(written, "labels"):
        mask = counted(tokens)
        activations = read(bridge, sae.cfg.metadata.hook_name, tokens)
        firing.add(tokens[mask], sae.encode(activations).cpu()[mask])
    return firing


@torch.inference_mode()
def direct_effects(bridge: Any, sae: Any) -> torch.Tensor:
    """Return how one unit of each feature moves each logit on the direct path, but for the norm's scale.

    Returns
    -------
    torch.Tensor
        ``(W_dec * gamma) @ W_U`` less its mean over the vocabulary, shape (features, vocabulary).
    """
    model = bridge.original_model
    gamma, unembedding = model.model.norm.weight, model.lm_head.weight
    effects = (sae.W_dec * gamma) @ unembedding.T
    return (effects - effects.mean(1, keepdim=True)).cpu()


def token_texts(tokenizer: Any) -> list[str]:
    """Return every token of the vocabulary as the text it stands for, with its leading space."""
    pieces: list[str] = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    texts = [piece.replace("▁", " ") for piece in pieces]
    # The first 128 byte tokens are characters of their own; the others only are in company.
    return [chr(int(text[3:5], 16)) if text.startswith("<0x") and text[3] < "8" else text for text in texts]


def visible(text: str) -> str:
    """Return a token as it is written in a label: ends of words with a hyphen, signs in quotation marks."""
    bare = text.strip(" ").replace("\n", "↵").replace("\t", "⇥")
    if not any(character.isalnum() for character in bare):
        return bare if bare == "↵" else f"‘{bare or '␣'}’"
    return f"-{bare}" if text[0].islower() else bare


def join(texts: list[str], most: int, room: int) -> str:
    """Join the first different tokens, at most ``most`` of them, that fit into ``room`` characters."""
    chosen: list[str] = []
    for text in texts:
        name = visible(text)
        known = {other.lower() for other in chosen}
        if name.lower() not in known and len(", ".join([*chosen, name])) <= room:
            chosen.append(name)
        if len(chosen) == most:
            break
    return ", ".join(chosen)


def make_label(fires_on: list[str], shares: list[float], boosts: list[str]) -> str:
    """Name a feature: what it fires on, an arrow, what it boosts.

    Parameters
    ----------
    fires_on
        The tokens that it fires on, the largest sum of activation first.
    shares
        The share of the feature's whole activation that lies on each of them. A token with less than a fifth
        of the first one's share is not named. Where the first three hold less than a fourth of all, the
        feature fires on many tokens, and the label says so.
    boosts
        The tokens that it boosts most and by far.
    """
    named = [text for text, share in zip(fires_on, shares, strict=True) if share >= shares[0] / 5]
    many = sum(shares[:3]) < 0.25
    head = f"many: {join(named, 2, 16)}" if many else join(named, 3, 22) or visible(fires_on[0])[:22]
    tail = join(boosts, 2, LABEL_LENGTH - len(head) - 3)
    return f"{head} → {tail}" if tail else head


def describe(firing: Firing, effects: torch.Tensor, texts: list[str]) -> list[dict[str, Any] | None]:
    """Describe every feature; one that never fired is None."""
    total = int(firing.seen.sum())
    seen = firing.seen >= SEEN
    features: list[dict[str, Any] | None] = []
    for sums, fires, peak, effect in zip(firing.sums, firing.fires, firing.peaks, effects, strict=True):
        whole = float(sums.sum())
        if not whole:
            features.append(None)
            continue
        # A feature that fires a little on everything is not about the commonest words.
        lifted = sums >= LIFT * whole / total * firing.seen
        top = [int(token) for token in (sums * lifted).topk(8).indices if sums[token] * lifted[token] > 0]
        best = cast(list[int], effect.masked_fill(~seen, -torch.inf).topk(8).indices.tolist())
        worst = cast(list[int], effect.masked_fill(~seen, torch.inf).topk(5, largest=False).indices.tolist())
        least = BOOST * effect[seen].std() + effect[seen].mean()
        label = make_label(
            [texts[token] for token in top],
            [float(sums[token]) / whole for token in top],
            [texts[token] for token in best if effect[token] >= least],
        )
        features.append(
            {
                "label": label,
                "fires_on": [[texts[token], round(float(sums[token] / fires[token]), 3)] for token in top],
                "boosts": [texts[token] for token in best],
                "suppresses": [texts[token] for token in worst],
                "frequency": float(f"{float(fires.sum()) / total:.4g}"),
                "max_activation": round(float(peak), 3),
            }
        )
    return features


def write_labels(folder: Path, bridge: Any, written: torch.Tensor) -> None:
    """Label the autoencoder in ``folder`` from these stories and write ``labels.json`` there."""
    sae = load_sae(folder, bridge.cfg.device)
    firing = watch(bridge, sae, written)
    tokens = int(firing.seen.sum())
    labels = {
        "schema": 1,
        "source": SOURCE.format(tokens=tokens, model=MODEL_NAME),
        "method": METHOD.format(seen=SEEN, lift=LIFT, boost=BOOST),
        "model": MODEL_NAME,
        "hook": sae.cfg.metadata.hook_name,
        "tokens": tokens,
        "features": describe(firing, direct_effects(bridge, sae), token_texts(bridge.tokenizer)),
    }
    text = json.dumps(labels, ensure_ascii=False, separators=(",", ":"))
    (folder / "labels.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Run the labelling from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--tokens", type=int, default=200_000, help="held-out tokens (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the held-out stories (%(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    written = stories(options.work, "held-out", options.seed, options.tokens, options.device)
    write_labels(options.out or sae_dir(options.hook), load_bridge(options.device), written)


if __name__ == "__main__":
    main()
