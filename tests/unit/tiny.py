"""Models and autoencoders small enough to make in a test, saved in the formats people load them from."""

from pathlib import Path

import torch
from sae_lens.saes import (
    GatedSAE,
    GatedSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    StandardSAE,
    StandardSAEConfig,
    TopKSAE,
    TopKSAEConfig,
)
from sae_lens.saes.sae import SAEMetadata
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPT2TokenizerFast,
    GPTJConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PhiConfig,
)

END = "<|endoftext|>"
CORPUS = ["the cat sat on the mat and the dog ran to the little house"] * 4
PROMPT = "the cat and the little dog"
WIDTH, LAYERS, CONTEXT, FEATURES, HEADS = 32, 2, 40, 96, 4
WINDOW = 8  # of the families with a sliding window: less than any run here

ARCHITECTURES = {
    "standard": (StandardSAE, StandardSAEConfig, {}),
    "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig, {}),
    "topk": (TopKSAE, TopKSAEConfig, {"k": 7}),
    "gated": (GatedSAE, GatedSAEConfig, {}),
}

_LIKE_LLAMA = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.25,
}
_LIKE_GPT = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT, "initializer_range": 0.25}
_FEW_KEYS = {"num_key_value_heads": 2, "head_dim": WIDTH // HEADS}

FAMILIES = {
    "gpt2": (GPT2Config, _LIKE_GPT),
    "gptj": (GPTJConfig, {**_LIKE_GPT, "rotary_dim": 4}),
    "llama": (LlamaConfig, {**_LIKE_LLAMA, **_FEW_KEYS, "tie_word_embeddings": False}),
    "mistral": (MistralConfig, {**_LIKE_LLAMA, **_FEW_KEYS, "sliding_window": WINDOW}),
    "gemma2": (
        Gemma2Config,
        # A cap that the logits come near to, so that leaving it out would show.
        {**_LIKE_LLAMA, **_FEW_KEYS, "sliding_window": WINDOW, "final_logit_softcapping": 3.0},
    ),
    "neox": (GPTNeoXConfig, _LIKE_LLAMA),
    "phi": (PhiConfig, _LIKE_LLAMA),
    "opt": (
        OPTConfig,
        {
            "hidden_size": WIDTH,
            "word_embed_proj_dim": WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "ffn_dim": 2 * WIDTH,
            "max_position_embeddings": CONTEXT,
            "init_std": 0.25,
        },
    ),
}


def save_model(directory: Path, family: str = "gpt2", **config) -> None:
    """Save a model whose random weights are large enough for its tokens to differ."""
    inner = ByteLevelBPETokenizer()
    inner.train_from_iterator(CORPUS, vocab_size=320, min_frequency=2, special_tokens=[END], show_progress=False)
    inner.save_model(str(directory))
    tokenizer = GPT2TokenizerFast(
        vocab=str(directory / "vocab.json"), merges=str(directory / "merges.txt"), bos_token=END, eos_token=END
    )
    tokenizer.save_pretrained(directory)
    end = tokenizer.eos_token_id
    kind, shape = FAMILIES[family]
    torch.manual_seed(3)
    ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    model = AutoModelForCausalLM.from_config(kind(vocab_size=len(tokenizer), **ends, **shape, **config))
    with torch.no_grad():
        for parameter in model.parameters():
            # Fresh biases are 0 and fresh norms 1 (or 0), which would hide a mistake in either.
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(directory)


def save_sae(
    directory: Path,
    hook: str,
    architecture: str = "standard",
    *,
    width: int = WIDTH,
    features: int = FEATURES,
    seed: int = 5,
    kwargs=None,
    metadata=None,
    **config,
) -> Path:
    """Save a random autoencoder for a hook point and give its directory."""
    kind, config_kind, extra = ARCHITECTURES[architecture]
    about = SAEMetadata(hook_name=hook, model_from_pretrained_kwargs=kwargs or {}, **(metadata or {}))
    sae = kind(config_kind(d_in=width, d_sae=features, metadata=about, **extra, **config))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # Thresholds must be above 0; elsewhere any numbers do, as long as some features fire and others do not.
            parameter.copy_(noise.abs() if name == "threshold" else noise / parameter.shape[0] ** 0.5)
    sae.save_model(directory)
    return directory
