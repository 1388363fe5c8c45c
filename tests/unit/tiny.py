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
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

END = "<|endoftext|>"
CORPUS = ["the cat sat on the mat and the dog ran to the little house"] * 4
PROMPT = "the cat and the little dog"
WIDTH, LAYERS, CONTEXT, FEATURES = 32, 2, 40, 96

ARCHITECTURES = {
    "standard": (StandardSAE, StandardSAEConfig, {}),
    "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig, {}),
    "topk": (TopKSAE, TopKSAEConfig, {"k": 7}),
    "gated": (GatedSAE, GatedSAEConfig, {}),
}


def save_model(directory: Path) -> None:
    """Save a GPT-2 whose random weights are large enough for its tokens to differ."""
    inner = ByteLevelBPETokenizer()
    inner.train_from_iterator(CORPUS, vocab_size=320, min_frequency=2, special_tokens=[END], show_progress=False)
    inner.save_model(str(directory))
    tokenizer = GPT2TokenizerFast(
        vocab=str(directory / "vocab.json"), merges=str(directory / "merges.txt"), bos_token=END, eos_token=END
    )
    tokenizer.save_pretrained(directory)
    end = tokenizer.eos_token_id
    torch.manual_seed(3)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=CONTEXT,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=4,
            bos_token_id=end,
            eos_token_id=end,
            initializer_range=0.25,
        )
    )
    with torch.no_grad():
        # Fresh biases are 0 and fresh norms 1, which would hide a mistake in either.
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "ln_" in name:
                parameter += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(directory)


def save_sae(
    directory: Path, hook: str, architecture: str = "standard", *, width: int = WIDTH, kwargs=None, **config
) -> Path:
    """Save a random autoencoder for a hook point and give its directory."""
    kind, config_kind, extra = ARCHITECTURES[architecture]
    metadata = SAEMetadata(hook_name=hook, model_from_pretrained_kwargs=kwargs or {})
    sae = kind(config_kind(d_in=width, d_sae=FEATURES, metadata=metadata, **extra, **config))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # Thresholds must be above 0; elsewhere any numbers do, as long as some features fire and others do not.
            parameter.copy_(noise.abs() if name == "threshold" else noise / parameter.shape[0] ** 0.5)
    sae.save_model(directory)
    return directory
