"""Pictures that need no browser, and what a cell's output holds where no widget runs."""

import base64
import html
import io
import json
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import nbformat
import pytest
from nbconvert import HTMLExporter, LatexExporter
from PIL import Image

from axon_widget import picture, still
from axon_widget.engine.sampling import Sampling
from axon_widget.graph import graph_of
from axon_widget.trace import Origin, Steering, Trace
from axon_widget.widget import AxonWidget
from tests.kernel.fake_tracer import FakeTracer

HOSTILE = "$\\frac{$ <script>alert(1)</script> 日本 😀 \ud800 \x00 \u202e {} %s"


def run(tokens=60, label="label {}".format, **made):
    fake, trace = FakeTracer(label=label, **made), Trace()
    list(fake.stream("a b", lambda: Sampling(max_tokens=tokens), seed=1, stop=bool, trace=trace, steering=Steering))
    return trace


@pytest.fixture(scope="module")
def trace():
    return run()


def names(figure):
    figure.canvas.draw()
    return [text for axes in figure.axes for text in axes.texts if text.get_gid() == "name"]


def overlaps(texts):
    boxes = [text.get_window_extent() for text in texts]
    return [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_each_kind_of_file_holds_the_picture(trace, tmp_path):
    drawn = Image.open(picture.to_image(trace, tmp_path / "run.png"))
    assert drawn.size == (1800, 1280)
    assert len(drawn.convert("RGB").getcolors(1 << 24)) > 300
    vector = ElementTree.parse(picture.to_image(trace, tmp_path / "run.SVG")).getroot()
    assert len(list(vector.iter("{http://www.w3.org/2000/svg}path"))) > 50
    assert picture.to_image(trace, str(tmp_path / "run.pdf")).read_bytes().startswith(b"%PDF")
    # The same run gives the same picture.
    assert picture.png(trace) == picture.png(trace)


def test_it_shows_the_strongest_by_name_and_one_name_over_no_other(trace):
    figure = picture.draw(trace)
    shown = names(figure)
    assert len(shown) == 12
    assert overlaps(shown) == []
    frame = figure.axes[0].get_window_extent()
    for box in (text.get_window_extent() for text in shown):
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
    strongest = {f.label for step in trace for f in step.features if f.activation > 3.5}
    assert {text.get_text() for text in shown} <= strongest | {f.label for f in trace[-1].features}
    said = " ".join(text.get_text() for text in figure.texts)
    assert "a b" in said
    assert "fake · fake/blocks.3.hook_resid_pre · 60 tokens" in said
    figure = picture.draw(run(40, lambda id: f"a name that is far too long to stand in any picture {id}"))
    assert overlaps(names(figure)) == []
    assert len(names(figure)) > 4


def test_what_fires_now_is_lit_and_significant_edges_are_drawn(trace):
    figure = picture.draw(trace)
    [axes] = figure.axes
    _, bright, dots = axes.collections
    graph = graph_of(trace, 15)
    now = {(f.sae, f.id) for f in trace[-1].features} & set(graph.keys())
    warm = [colour for colour in dots.get_facecolors() if colour[0] > colour[2]]
    assert len(warm) == len(now)
    assert len(bright.get_segments()) == len(graph.significant()) > 0


@pytest.mark.filterwarnings("error")
def test_hostile_text_neither_breaks_nor_warns(tmp_path):
    trace = run(20, label=lambda id: f"{HOSTILE}{id}", token=lambda i: HOSTILE)
    trace.origin = Origin("$m", trace.origin.saes, HOSTILE)
    for kind in picture.FORMATS:
        picture.to_image(trace, tmp_path / f"run.{kind}")
    [one, *_] = names(picture.draw(trace))
    assert one.get_text().startswith("$\\frac{$ <script>")
    made = still.bundle(trace)
    assert "<script" not in made["text/html"]
    assert "$\\frac{$ &lt;script&gt;" in made["text/html"]
    made["text/html"].encode()


@pytest.mark.filterwarnings("error")
def test_glyphs_that_no_font_has_become_boxes():
    assert picture._fit("a\U000f0000b", 20) == "a□b"
    assert picture._fit("→ · é Ж", 20) == "→ · é Ж"


def test_few_tokens_many_layers_and_only_special_tokens(tmp_path):
    for few in (run(1), run(2), run(30, layers=(1, 4, 9))):
        assert len(picture.png(few)) > 5000
    only = Trace(steps=[replace(run(1)[0], special=True, features=())])
    assert len(picture.png(only)) > 1000
    assert "<table" in still.bundle(only)["text/html"]


def test_what_cannot_be_a_picture_is_said(trace, tmp_path):
    with pytest.raises(ValueError, match=r"give a name that ends in .png, .svg, .pdf"):
        picture.to_image(trace, tmp_path / "run.jpg")
    with pytest.raises(ValueError, match="nothing to show yet"):
        picture.to_image(Trace(), tmp_path / "run.png")
    assert not list(tmp_path.iterdir())


def test_it_is_quick_and_leaves_the_users_plots_alone(trace):
    took = []
    for _ in range(4):
        start = time.thread_time()
        picture.png(trace)
        took.append(time.thread_time() - start)
    assert min(took) < 0.5
    script = "import sys; from axon_widget import picture; from axon_widget.trace import *\n"
    script += "step = TokenStep(' a', 1, 0, 0, True, features=(Feature(3, 1.0, 2, 'a label'),))\n"
    script += "picture.png(Trace(steps=[step])); assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_users_style_does_not_reach_it(trace):
    import matplotlib

    plain = picture.png(trace)
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "text.color": "red"}):
        assert picture.png(trace) == plain


@pytest.fixture
def widget():
    made = AxonWidget(tracer=FakeTracer())
    made.wait(30)
    yield made
    made.close()


def test_a_cells_output_is_the_live_view_and_a_picture(widget):
    data, _ = widget._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert "The run had not ended" in data["text/html"]
    assert "image/png" not in data
    widget.generate("a b", max_tokens=230)
    widget.wait(60)
    data, _ = widget._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert "AxonWidget" in data["text/plain"]
    png = base64.b64decode(data["image/png"])
    assert Image.open(io.BytesIO(png)).size == (990, 704)
    rows = re.findall(r"<tr><td.*?</tr>", data["text/html"])
    assert len(rows) == 200
    assert "and 30 more tokens" in data["text/html"]
    first = widget.trace[0]
    assert all(html.escape(f"{f.label} ({f.activation:.2f})") in rows[0] for f in first.features[:3])
    assert "60.7%" in rows[0]  # exp(-0.5)
    json.dumps(data)


def test_no_picture_fails_no_cell(widget, monkeypatch):
    widget.generate("a b", max_tokens=5)
    widget.wait(30)
    monkeypatch.setattr(picture, "png", lambda *_, **__: 1 / 0)
    data, _ = widget._repr_mimebundle_()
    assert data["text/html"].startswith("<p>")
    assert "application/vnd.jupyter.widget-view+json" in data


def test_readers_that_run_no_widgets_get_the_picture(widget):
    widget.generate("a b", max_tokens=20)
    widget.wait(30)
    data, metadata = widget._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data, metadata=metadata)
    cell = nbformat.v4.new_code_cell("w", outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count(f"data:image/png;base64,{data['image/png'][:200]}") == 1
    assert "widget-view+json" not in page
    tex, files = LatexExporter().from_notebook_node(notebook)
    assert "includegraphics" in tex
    assert next(iter(files["outputs"].values())) == base64.b64decode(data["image/png"])
