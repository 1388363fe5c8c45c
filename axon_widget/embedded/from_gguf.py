"""A Hugging Face directory made of a GGUF file that holds a Llama with a byte-level tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL = 3  # the type of tokens that are no text


def convert(gguf: Path, folder: Path, report: Callable[[float], None]) -> None:
    """Write weights in float16, configuration and tokenizer.

    Parameters
    ----------
    gguf
        The file.
    folder
        Where they go.
    report
        Hears what share of the weights is done.

    Raises
    ------
    ValueError
        If the file holds another kind of model or tokenizer.
    """
    import safetensors.numpy
    from gguf import GGUFReader, dequantize

    reader: Any = GGUFReader(gguf)
    told: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
    kinds = [told.get(f"{key}") for key in ("general.architecture", "tokenizer.ggml.model", "tokenizer.ggml.pre")]
    if kinds != ["llama", "gpt2", "smollm"]:
        raise ValueError(f"{gguf.name} holds a model and tokenizer of the kinds {kinds}: only a SmolLM can be read.")
    heads, groups = int(told["llama.attention.head_count"]), int(told["llama.attention.head_count_kv"])
    weights: dict[str, npt.NDArray[np.float16]] = {}
    for done, tensor in enumerate(reader.tensors):
        report(done / len(reader.tensors))
        values = cast("npt.NDArray[np.float32]", dequantize(tensor.data, tensor.tensor_type))
        name = _name(str(tensor.name))
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = _half_split(values, heads if "q_proj" in name else groups)
        weights[name] = np.ascontiguousarray(values, dtype=np.float16)
    report(1.0)
    safetensors.numpy.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    ends = _write_tokenizer(folder, told)
    generation = {
        "bos_token_id": told["tokenizer.ggml.bos_token_id"],
        # A turn of a conversation ends with the first, a text with the other.
        "eos_token_id": ends,
        "pad_token_id": told["tokenizer.ggml.padding_token_id"],
    }
    _write(folder / "generation_config.json", generation)
    _write(folder / "config.json", {**_config(told, tied="lm_head.weight" not in weights), **generation})


def _name(name: str) -> str:
    """Give transformers' name of a tensor."""
    found = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", name)
    if found is None or found[2] not in _NAMES:
        raise ValueError(f"The GGUF file holds a tensor {name!r}, which a Llama has not.")
    block = "" if found[1] is None else f"model.layers.{found[1]}."
    return f"{block}{_NAMES[found[2]]}.weight"


def _half_split(matrix: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Reorder rows: llama.cpp rotates neighbouring pairs of a head's dimensions, transformers the two halves of it."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _config(told: dict[str, Any], tied: bool) -> dict[str, Any]:
    width, heads = int(told["llama.embedding_length"]), int(told["llama.attention.head_count"])
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "float16",
        "vocab_size": len(told["tokenizer.ggml.tokens"]),
        "hidden_size": width,
        "intermediate_size": int(told["llama.feed_forward_length"]),
        "num_hidden_layers": int(told["llama.block_count"]),
        "num_attention_heads": heads,
        "num_key_value_heads": int(told["llama.attention.head_count_kv"]),
        "head_dim": width // heads,
        "max_position_embeddings": int(told["llama.context_length"]),
        "hidden_act": "silu",
        "rms_norm_eps": float(told["llama.attention.layer_norm_rms_epsilon"]),
        "rope_theta": float(told["llama.rope.freq_base"]),
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
    }


def _write_tokenizer(folder: Path, told: dict[str, Any]) -> list[int]:
    """Write the tokenizer and give the tokens that end a text."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: list[str] = told["tokenizer.ggml.tokens"]
    merges = [cast("tuple[str, str]", tuple(merge.split(" ", 1))) for merge in told["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    # A SmolLM splits numbers into their digits.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    kinds = told["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    bos, eos, unknown, padding = (
        int(told[f"tokenizer.ggml.{kind}_token_id"]) for kind in ("bos", "eos", "unknown", "padding")
    )
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokens[bos],
            "eos_token": tokens[eos],
            "unk_token": tokens[unknown],
            "pad_token": tokens[padding],
            "add_bos_token": bool(told["tokenizer.ggml.add_bos_token"]),
            "model_max_length": int(told["llama.context_length"]),
            "clean_up_tokenization_spaces": False,
            "chat_template": told.get("tokenizer.chat_template"),
        },
    )
    return [eos, *(tokens.index(token) for token in control if token == "<|endoftext|>")]


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
