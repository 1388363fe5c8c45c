"""The wheel and the sdist hold what they must: the view's bundle, the embedded model, the licences."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from axon_widget.embedded import SHIPPED
from axon_widget.embedded.recipes import RECIPES

ROOT = Path(__file__).parents[2]
NEEDED = [
    "axon_widget/static/widget.js",
    "axon_widget/static/widget.css",
    "axon_widget/embedded/stories15m/model.safetensors",
    "axon_widget/embedded/stories15m/tokenizer.json",
    "axon_widget/embedded/stories15m/LICENSE",
    "axon_widget/embedded/smollm2-135m-saes/NOTICE",
    *(f"{model.saes.relative_to(ROOT)}/texts.sqlite3" for model in SHIPPED),
    *(
        f"{model.saes.relative_to(ROOT)}/{hook}/{name}"
        for model in SHIPPED
        for hook in RECIPES[model.saes.name.removesuffix("-saes")].hooks
        for name in ("cfg.json", "sae_weights.safetensors", "labels.sqlite3", "metrics.json", "CARD.md")
    ),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The built wheel and sdist. The wheel is built from the sdist, as an installer would."""
    folder = tmp_path_factory.mktemp("dist")
    # No isolation: the build tools of the test environment, so that nothing is downloaded here.
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_wheel_holds_the_bundle_and_the_model(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = wheel.namelist()
        assert [name for name in NEEDED if name not in names] == []
        assert wheel.getinfo("axon_widget/static/widget.js").file_size > 300_000
        assert any(name.endswith("licenses/LICENSE") for name in names)
        assert not [name for name in names if not name.startswith(("axon_widget/", "axon_widget-"))]
        assert (
            "axon = axon_widget.cli:main"
            in wheel.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
        )


def test_sdist_holds_the_bundle_and_its_source(built):
    with tarfile.open(built[1]) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
    assert [
        name for name in [*NEEDED, "js/src/index.ts", "js/package-lock.json", "pyproject.toml"] if name not in names
    ] == []
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name]


def test_wheel_is_small_enough_to_publish(built):
    assert built[0].stat().st_size < 95e6


def test_nothing_is_pickled():
    suffixes = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".npy", ".npz"}
    assert [path for path in (ROOT / "axon_widget").rglob("*") if path.suffix in suffixes] == []
