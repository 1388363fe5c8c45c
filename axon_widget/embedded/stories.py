"""Stories that the embedded model writes itself: what its autoencoders are trained and judged on.

Stories are sampled in batches and kept on disk in shards, so that sampling can be stopped and taken up again.
A split (a name and a seed) always gives the same prompts; ``train`` and ``held-out`` share no seed.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from tqdm import tqdm
from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import Cache, DynamicLayer

from axon_widget.embedded import STORIES

UNK, BOS, EOS = 0, 1, 2
SPECIAL = (UNK, BOS, EOS)
SHARD = 256  # stories in one shard, which is one batch
TOP_P = 0.95
TOP_K = 256  # the nucleus is looked for among so many tokens: sorting the vocabulary takes longer than the model
TEMPERATURES = (0.8, 1.0, 1.0, 1.2)

TIMES = (
    "Once upon a time,", "One day,", "One sunny morning,", "Long ago,", "Last night,", "In a big forest,",
    "In a small town,", "At school,", "After lunch,", "On a rainy day,", "In the summer,", "Every day,",
)  # fmt: skip
WHO = (
    "a little girl named Lily", "a boy named Tim", "a big brown bear", "an old man", "a small bird",
    "two friends", "Mom and Dad", "a hungry cat", "the brave knight", "a red car", "a sad frog",
    "Sara and Ben", "a curious dog", "the doctor", "a wise owl", "a lonely fish", "my grandma",
    "a princess", "the farmer", "a tiny ant",
)  # fmt: skip
WHAT = (
    "", "was", "wanted to", "found a", "went to the", "saw a big", "lost her", "was very scared because",
    "lived in", "said,", "could not", "loved to eat", "asked his friend", "ran away from", "made a",
)  # fmt: skip
# Beginnings of other things than stories: people type these too, and the features should not be lost on them.
OTHER = (
    '"Where are you?"', "The sun", "The capital of France is", "She", "He was so angry that",
    "I think that", "Why", "Dear diary,", "1, 2, 3,", "How to bake a cake:", "The river and the mountain",
    "My name is", "Don't", "They", '"Help!" shouted', "It was dark and", "The moral of the story is",
    "Good night,", "A long time", "We are going", "Tom's toy", "Winter came and the snow",
    "The king said to the queen", "If you", "There was no", "When I was", "Birds can", "A machine that",
    "Water is", "The train to the city", "Let's play", "Yes,", "No,", "Happy birthday",
    "Anna has a new ball. The ball is", "The dragon and the mouse", "What is", "Please", "Look at the",
    "The end.",
)  # fmt: skip


def openings(rng: random.Random, count: int) -> list[str]:
    """Draw openings: three in ten empty (the model begins by itself), half composed, the rest others."""
    texts: list[str] = []
    for _ in range(count):
        kind = rng.random()
        if kind < 0.3:
            texts.append("")
        elif kind < 0.8:
            start = f"{rng.choice(TIMES)} " if rng.random() < 0.6 else ""
            text = f"{start}{rng.choice(WHO)} {rng.choice(WHAT)}".strip()
            texts.append(text[0].upper() + text[1:])
        else:
            texts.append(rng.choice(OTHER))
    return texts


def load_writer(device: str = "cpu") -> tuple[Any, Any]:
    """Load the embedded model for sampling (bfloat16: it only writes text) and its tokenizer."""
    AttentionInterface.register("one_query", cast(Any, _attention))
    model: Any = AutoModelForCausalLM.from_pretrained(
        STORIES.directory(), dtype=torch.bfloat16, attn_implementation="one_query"
    )
    return model.to(device).eval(), cast(Any, AutoTokenizer.from_pretrained(STORIES.directory()))


def _attention(
    module: Any, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: Any, scaling: float, **_: Any
) -> tuple[torch.Tensor, None]:
    """Attend from one token to all before it, in float32, which is faster on a CPU than in bfloat16."""
    weights = (query.float() @ keys.transpose(2, 3) * scaling).softmax(-1)
    return (weights @ values).transpose(1, 2).to(query.dtype), None


class _Room(DynamicLayer):
    """A layer's keys and values in a tensor with room for a whole context; transformers' own is copied each token."""

    def __init__(self, context: int) -> None:
        super().__init__()
        self._context, self._length = context, 0
        self._kept: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self._kept:
            batch, heads, _, width = key_states.shape
            self._kept = [torch.empty(batch, heads, self._context, width, device=key_states.device) for _ in range(2)]
            self.is_initialized = True
        start, self._length = self._length, self._length + key_states.shape[-2]
        for kept, new in zip(self._kept, (key_states, value_states), strict=True):
            kept[:, :, start : self._length] = new
        self.keys, self.values = (kept[:, :, : self._length] for kept in self._kept)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._kept = [kept[indices] for kept in self._kept]


@torch.inference_mode()
def write_stories(model: Any, tokenizer: Any, count: int, seed: int, context: int = 256) -> torch.Tensor:
    """Sample ``count`` stories in one batch, each at most ``context`` tokens long.

    Returns
    -------
    torch.Tensor
        Token ids, int16 on the CPU, shape (count, context). A row begins with BOS, holds a story and is
        filled up with UNK after it; the BOS that ends a story is left out.
    """
    rng = random.Random(seed)
    device = model.device
    prompts = [tokenizer(text)["input_ids"] for text in openings(rng, count)]
    forced = torch.full((count, context), -1, device=device)
    for row, prompt in enumerate(prompts):
        forced[row, : len(prompt)] = torch.tensor(prompt, device=device)
    heat = torch.tensor([rng.choice(TEMPERATURES) for _ in range(count)], device=device)[:, None]
    generator = torch.Generator(device).manual_seed(seed)

    stories = torch.full((count, context), UNK, device=device)
    stories[:, 0] = BOS
    rows = torch.arange(count, device=device)  # the stories in the batch
    going = torch.ones(count, dtype=torch.bool, device=device)  # and which of them are still being written
    cache = Cache(layers=[_Room(context) for _ in range(model.config.num_hidden_layers)])
    token = stories[:, :1]
    for position in range(1, context):
        out = model(token, past_key_values=cache, use_cache=True)
        values, choices = out.logits[:, -1].topk(TOP_K)
        chances = (values.float() / heat[rows]).softmax(-1)
        chances[chances.cumsum(-1) - chances > TOP_P] = 0
        token = choices.gather(1, torch.multinomial(chances, 1, generator=generator))
        given = forced[rows, position, None]
        token = torch.where(given >= 0, given, token)
        going &= (token[:, 0] != BOS) & (token[:, 0] != EOS)
        stories[rows[going], position] = token[going, 0]
        left = int(going.sum())
        if not left:
            break
        if left < 0.75 * len(rows):  # leaving stories out copies the cache
            keep = going.nonzero()[:, 0]
            rows, token, going = rows[keep], token[keep], going[keep]
            cache.batch_select_indices(keep)
    return stories.to("cpu", torch.int16)


def shards(folder: Path, split: str, seed: int, device: str = "cpu") -> Iterator[torch.Tensor]:
    """Give shard after shard without end, sampling those that are not yet in ``folder``."""
    folder = folder / f"{split}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    writer: tuple[Any, Any] | None = None
    base = random.Random(f"{split} {seed}").randrange(2**48)
    for number in itertools.count():
        path = folder / f"{number:05d}.safetensors"
        if not path.exists():
            writer = writer or load_writer(device)
            partial = path.with_suffix(f".{os.getpid()}.tmp")
            safetensors.torch.save_file({"stories": write_stories(*writer, SHARD, base + number)}, partial)
            partial.replace(path)
        yield safetensors.torch.load_file(path)["stories"]


def counted(stories: torch.Tensor) -> torch.Tensor:
    """Return which tokens count: neither position 0 nor a special token, nor what fills a row up."""
    mask = torch.ones_like(stories, dtype=torch.bool)
    mask[:, 0] = False
    for token in SPECIAL:
        mask &= stories != token
    return mask


def stories(folder: Path, split: str, seed: int, tokens: int, device: str = "cpu") -> torch.Tensor:
    """Return whole shards of a split, as many as hold ``tokens`` counted tokens, in one int16 tensor."""
    parts: list[torch.Tensor] = []
    found = 0
    with tqdm(total=tokens, desc=f"{split} stories", unit="tok", smoothing=0.1) as progress:
        for part in shards(folder, split, seed, device):
            parts.append(part)
            more = int(counted(part).sum())
            found += more
            progress.update(more)
            if found >= tokens:
                break
    return torch.cat(parts)
