"""For every test: no model hub."""

import os

# Set before anything imports huggingface_hub, which reads it once; processes that tests start inherit it.
os.environ["HF_HUB_OFFLINE"] = "1"
