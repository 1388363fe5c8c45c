"""A wheel that holds a tiny model as a GGUF file, laid out as llama.cpp has it, and how it is asked for."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from axon_widget.embedded.wheel import InWheel

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<file_sep>"]
TEXT = "the cat sat on the mat in 1945 and the dog ran home"
NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def model() -> LlamaForCausalLM:
    """A Llama with random weights whose keys are shared by two heads each."""
    torch.manual_seed(2)
    made = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=300,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            rope_theta=100_000.0,
            rms_norm_eps=1e-5,
            initializer_range=0.3,
            tie_word_embeddings=True,
        )
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(parameter.half())  # so that nothing is lost on the way
    return made.eval()


def write_gguf(path: Path) -> None:
    """Write the model and a tokenizer as llama.cpp's own conversion lays them out."""
    inner = ByteLevelBPETokenizer()
    inner.train_from_iterator([TEXT] * 4, vocab_size=300, special_tokens=CONTROL, show_progress=False)
    inner.save_model(str(path.parent))
    merges = (path.parent / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    tokens = sorted(inner.get_vocab(), key=inner.get_vocab().get)
    tokens += [f"<unused{n}>" for n in range(300 - len(tokens))]
    made = model()
    shape = made.config
    out = gguf.GGUFWriter(path, "llama")
    out.add_block_count(shape.num_hidden_layers)
    out.add_context_length(shape.max_position_embeddings)
    out.add_embedding_length(shape.hidden_size)
    out.add_feed_forward_length(shape.intermediate_size)
    out.add_head_count(shape.num_attention_heads)
    out.add_head_count_kv(shape.num_key_value_heads)
    out.add_rope_freq_base(100_000.0)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    out.add_token_list(tokens)
    out.add_token_merges(merges)
    out.add_token_types([3 if token in CONTROL else 1 for token in tokens])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    out.add_pad_token_id(2)
    out.add_add_bos_token(False)
    for name, value in made.model.named_parameters():
        values = value.detach().numpy()
        block, _, part = name.removeprefix("layers.").partition(".")
        if "layers." not in name:
            renamed = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]
        else:
            renamed = f"blk.{block}.{NAMES[part.removesuffix('.weight')]}.weight"
        heads = {"self_attn.q_proj.weight": 4, "self_attn.k_proj.weight": 2}.get(part)
        if heads:  # row r of a head's first half and row r of its second stand side by side in llama.cpp
            size = values.shape[0] // heads
            order = [h * size + half * size // 2 + r for h in range(heads) for r in range(size // 2) for half in (0, 1)]
            values = values[order]
        out.add_tensor(renamed, np.ascontiguousarray(values))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def build(folder: Path) -> InWheel:
    """Write the wheel into a folder and say how it is asked for."""
    gguf_file = folder / "parts" / "tiny.gguf"
    gguf_file.parent.mkdir()
    write_gguf(gguf_file)
    about = "Metadata-Version: 2.1\nName: tiny-gguf\nVersion: 1.0\nRequires-Dist: there-is-no-such-package\n"
    files = {
        "tiny_gguf/__init__.py": b"raise RuntimeError('this must not run')\n",
        "tiny_gguf/tiny.gguf": gguf_file.read_bytes(),
        "tiny_gguf-1.0.dist-info/METADATA": about.encode(),
        "tiny_gguf-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_gguf-1.0.dist-info/LICENSE": b"Anybody may do anything.\n",
    }
    files["tiny_gguf-1.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files).encode()
    wheel = folder / "tiny_gguf-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    weights = files["tiny_gguf/tiny.gguf"]
    return InWheel(
        requirement="tiny-gguf==1.0",
        bytes=wheel.stat().st_size,
        weights="tiny_gguf/tiny.gguf",
        weights_bytes=len(weights),
        sha256=hashlib.sha256(weights).hexdigest(),
        licence="tiny_gguf-1.0.dist-info/LICENSE",
        room=1_000_000,
    )
