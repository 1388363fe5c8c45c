"""A model of gpt2-small's exact shape with random weights, and a sparse autoencoder of gpt2-small-res-jb's shape."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from sae_lens.saes.sae import SAEMetadata
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from axon_widget.checks.speed import timed as timed
from axon_widget.engine.features import FeatureReader
from axon_widget.engine.hooks import HookedModel
from axon_widget.engine.tracer import Tracer

HOOK = "blocks.8.hook_resid_pre"
FEATURES = 24_576
FIRING = 60  # features on at once, as in gpt2-small-res-jb

_END = "<|endoftext|>"


def word(token: int) -> str:
    """Return the text of a token in the benchmark's vocabulary."""
    return f"w{token}"


def make_tokenizer(directory: Path) -> Any:
    """Make a tokenizer of gpt2's size, one word a token. It is read back from disk, where bridges look for it."""
    size = GPT2Config().vocab_size
    words = {word(i): i for i in range(size - 1)} | {_END: size - 1}
    inner = Tokenizer(models.WordLevel(words, unk_token=_END))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=_END, eos_token=_END).save_pretrained(directory)
    return AutoTokenizer.from_pretrained(directory)


def make_model(seed: int) -> Any:
    """Make the model, with PyTorch's own attention kernel, as the engine loads models."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel._from_config(GPT2Config(), attn_implementation="sdpa").eval()


@torch.inference_mode()
def make_sae(model: Any, seed: int) -> StandardSAE:
    """Make the autoencoder, its encoder's bias such that about `FIRING` features are on at each token.

    It says of itself, as gpt2-small-res-jb does, that it was trained on centred writing weights.
    """
    generator = torch.Generator().manual_seed(seed)
    width = model.config.n_embd
    metadata = SAEMetadata(hook_name=HOOK, model_from_pretrained_kwargs={"center_writing_weights": True})
    sae = StandardSAE(StandardSAEConfig(d_in=width, d_sae=FEATURES, metadata=metadata))
    directions = torch.randn(FEATURES, width, generator=generator) / width**0.5
    sae.W_dec.copy_(directions)
    sae.W_enc.copy_(directions.T)
    ids = torch.randint(0, model.config.vocab_size - 1, (1, 32), generator=generator)
    # On tokens that the model writes itself, as those that are timed.
    ids = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=32, do_sample=False)
    block = int(HOOK.split(".")[1])
    residual = model(ids, output_hidden_states=True).hidden_states[block][0, 32:]
    pre = (residual - residual.mean(-1, keepdim=True)) @ sae.W_enc
    # One threshold for each feature's own spread would fix its frequency; one for all fixes the sum of them.
    sae.b_enc.fill_(-float(pre.topk(FIRING, -1).values[:, -1].median()))
    return sae.eval()


def make_tracer() -> Tracer:
    """Make a tracer of the model with its autoencoder."""
    with tempfile.TemporaryDirectory() as directory:
        tokenizer = make_tokenizer(Path(directory))
        model = make_model(0)
        reader = FeatureReader(make_sae(model, 1))
        wrapped = HookedModel.wrap("gpt2", model, tokenizer)
        return Tracer(wrapped, tokenizer, [reader], model_name="gpt2-small's shape")


@torch.inference_mode()
def make_hooked(model: Any) -> Any:
    """Make TransformerLens' HookedTransformer of the same shape, its weights random too."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    shape = model.config
    config = HookedTransformerConfig(
        n_layers=shape.n_layer,
        d_model=shape.n_embd,
        n_ctx=shape.n_positions,
        n_heads=shape.n_head,
        d_head=shape.n_embd // shape.n_head,
        d_mlp=4 * shape.n_embd,
        d_vocab=shape.vocab_size,
        act_fn="gelu_new",
        normalization_type="LN",
        device="cpu",
        seed=0,
    )
    return HookedTransformer(config).eval()
