"""The default at its full size, from a hub: downloaded, loaded, and read as SAELens reads it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.standins import gpt2
from tests.standins.hub import Hub

ROOT = Path(__file__).parents[2]

# In a process of its own: the hub's client reads its settings once, on import.
SCRIPT = """
import torch
from axon_widget import Tracer
from sae_lens import SAE
from sae_lens.analysis.hooked_sae_transformer import HookedSAETransformer

torch.set_num_threads(1)
said = []
tracer = Tracer.load(progress=said.append, labels=False)
assert tracer.info["fallback"] == "", tracer.info
assert (tracer.info["model"], tracer.info["sae"]) == ("gpt2-small", "gpt2-small-res-jb/blocks.8.hook_resid_pre")
assert tracer.info["neuronpedia"] == "gpt2-small/8-res-jb"
assert any("gpt2, 100 % of 5" in s for s in said) and any("hook_resid_pre, 100 % of 151 MB" in s for s in said), said
places = [next(i for i, s in enumerate(said) if part in s) for part in ("configuration", "gpt2, ", "of 151 MB")]
assert places == sorted(places), said

trace = tracer.run("The capital of France is Paris and", max_tokens=3, seed=0)
assert [step.token for step in trace][1:8] == ["The", " capital", " of", " France", " is", " Paris", " and"]
assert all(10 < step.l0 < 200 for step in trace if not step.special), [step.l0 for step in trace]

model = HookedSAETransformer.from_pretrained_no_processing("gpt2-small", center_writing_weights=True, device="cpu")
sae = SAE.from_pretrained("gpt2-small-res-jb", "blocks.8.hook_resid_pre")
ids = torch.tensor([[step.token_id for step in trace]])
hook = sae.cfg.metadata.hook_name
with torch.inference_mode():
    _, cache = model.run_with_cache(ids, names_filter=hook, stop_at_layer=9)
    expected = sae.encode(cache[hook])[0, 1:]
    off = cache[hook] - tracer.model.plain.transformer(ids, output_hidden_states=True).hidden_states[8]
assert off.abs().max() > 0.1, "the weights have no mean that centring could take away"
found = torch.zeros_like(expected)
for step in trace[1:]:
    for feature in step.features:
        found[step.step - 1, feature.id] = feature.activation
torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-5)
"""


def run(script, hub, home, **settings):
    there = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
    there.pop("HF_HUB_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**there, **settings},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_default_is_downloaded_and_read_as_saelens_reads_it(gpt2_repositories, tmp_path):
    with Hub(*gpt2_repositories) as hub:
        run(SCRIPT, hub, tmp_path)
        assert sum(path.endswith("model.safetensors") for path in hub.paths("GET")) == 1
    gpt2.remove(tmp_path)
