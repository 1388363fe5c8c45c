"""The ``axon`` command."""

import json

import pytest

from axon_widget.cli import main
from axon_widget.cli import trace as cli
from axon_widget.trace import Trace
from tests.unit import tiny


def run(capsys, *arguments):
    code = main([*arguments, "--model", "embedded"])
    return (code, *capsys.readouterr())


def test_prints_each_token_with_its_features(capsys):
    code, out, err = run(capsys, "Once upon a time", "--max-tokens", "4", "--temperature", "0", "--features", "2")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["Once", "upon", "a"]
    assert sum("+" in line.split()[1] for line in lines[:8]) == 4
    assert "Once upon a time, there was a" in out
    assert "(length; seed" in out
    assert "stories15M" in err


def test_several_saes_are_read_in_one_run_and_each_is_shown(capsys, tmp_path):
    other = tiny.save_sae(tmp_path / "sae", "blocks.5.hook_resid_pre", width=288)
    record = tmp_path / "run.json"
    saes = ("--sae", "blocks.3.hook_resid_pre", "--sae", str(other))
    code, out, err = run(
        capsys,
        "Once upon a time",
        *saes,
        "--max-tokens",
        "2",
        "--temperature",
        "0",
        "--features",
        "2",
        "--json",
        str(record),
    )
    assert code == 0
    trace = Trace.from_json(record)
    assert [sae.layer for sae in trace.origin.saes] == [3, 5]
    assert all(len(step.fits) == 2 for step in trace if not step.special)
    assert f"embedded/blocks.3.hook_resid_pre, {other} on cpu" in err
    # The strongest of each, by layer.
    for line, step in zip(out.splitlines(), trace[1:], strict=False):
        first, second = (
            "   ".join(
                f"{f.activation:.2f} {f.label or f'#{f.id}'}" for f in [f for f in step.features if f.sae == sae][:2]
            )
            for sae in (0, 1)
        )
        assert line.endswith(f"layer 3: {first}   layer 5: {second}")


def test_writes_the_trace_and_the_page(capsys, tmp_path):
    page, record = tmp_path / "run.html", tmp_path / "run.json"
    code, out, _ = run(
        capsys, "Lily had a", "--max-tokens", "3", "--seed", "5", "--html", str(page), "--json", str(record)
    )
    assert code == 0
    trace = Trace.from_json(record)
    assert trace.origin.seed == 5
    assert trace.finish == "length"
    assert trace.text in out
    assert str(page) in out
    assert "axon-replay" in page.read_text(encoding="utf-8")


def test_json_alone_goes_to_standard_output(capsys):
    _, out, err = run(capsys, "Lily had a", "--max-tokens", "2", "--json", "-")
    assert json.loads(out)["schema"] == "axon-widget/trace"
    assert "Lily" in err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["   "], "empty"),
        (["x", "--top-p", "3"], "top_p"),
        (["x", "--temperature", "nan"], "temperature"),
        (["x", "--max-tokens", "0"], "max_tokens"),
        (["word " * 300], "256"),
        (["x", "--sae", "blocks.77.hook_resid_pre"], "blocks.3.hook_resid_pre"),
        (["x", "--sae", "blocks.3.hook_resid_pre", "--sae", "blocks.77.hook_resid_pre"], "blocks.77"),
        (["x", "--device", "abacus"], "abacus"),
        (["x", "--features", "-2"], "--features"),
        (["x", "--dtype", "int4"], "int4"),
        (["x", "--html", "no/such/folder/run.html"], "no/such/folder"),
    ],
)
def test_bad_input_is_one_clear_sentence(capsys, arguments, word):
    code, out, err = run(capsys, *arguments)
    assert code == 1
    assert out == ""
    assert word in err
    assert err.splitlines()[-1].startswith("axon: ")
    assert "Traceback" not in err


def test_hostile_text_does_not_reach_the_terminal(capsys):
    code, out, _ = run(capsys, "a\x1b[2Jb \u202egnp", "--max-tokens", "1", "--temperature", "0")
    assert code == 0
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\x1b" in out


def test_what_a_file_says_does_not_reach_the_terminal(capsys, tmp_path):
    folder = tiny.save_sae(tmp_path, "blocks.1.hook_resid_pre")
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"]["model_class_name"] = "\x1b]0;pwned\x07X"
    (folder / "cfg.json").write_text(json.dumps(config))
    code, _, err = run(capsys, "a", "--sae", str(folder))
    assert code == 1
    assert "\\x1b]0;pwned" in err
    assert "\x1b" not in err.splitlines()[-1]


def test_an_interrupt_keeps_what_was_written(capsys, tmp_path, monkeypatch):
    lines = cli._line

    def interrupted(step, *rest):
        if step.position == 7:
            raise KeyboardInterrupt
        return lines(step, *rest)

    monkeypatch.setattr(cli, "_line", interrupted)
    code, out, _ = run(capsys, "Once upon a time", "--json", str(tmp_path / "run.json"))
    assert code == 130
    assert "(stopped; seed" in out
    assert Trace.from_json(tmp_path / "run.json").finish == "stopped"


def test_names_its_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("axon ")
