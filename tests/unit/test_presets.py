"""The file of presets: whole or untouched, whoever else writes to it and whatever it holds."""

import json
import multiprocessing
import os
import sys

import pytest

from axon_widget.presets import RECIPES, Presets

RANGES = {"temperature": (0.0, 2.0), "top_k": (0, 200), "top_p": (0.05, 1.0), "repetition_penalty": (1.0, 2.0)}
CALM = {"temperature": 0.3, "top_k": 20}


@pytest.fixture
def presets(tmp_path):
    return Presets(RANGES, tmp_path / "not" / "there yet")


def test_what_is_saved_is_there_for_others_until_it_is_deleted(presets):
    assert presets.load() == {}
    assert list(presets.all()) == list(RECIPES)
    presets.save("calm", CALM)
    presets.save("日本 & <b>", {"top_k": 3})
    other = Presets(RANGES, presets.path.parent)
    assert other.load() == {"calm": CALM, "日本 & <b>": {"top_k": 3}}
    assert other.find("calm") == CALM
    presets.save("calm", {"top_k": 7})
    assert other.find("calm") == {"top_k": 7}
    other.delete("calm")
    assert list(presets.all()) == [*RECIPES, "日本 & <b>"]
    assert [path.name for path in presets.path.parent.iterdir() if path.name.startswith("presets.json.")] in (
        [],
        ["presets.json.lock"],
    )


def test_recipes_are_within_range_and_stay_as_they_are(presets):
    for recipe in RECIPES.values():
        assert all(RANGES[name][0] <= value <= RANGES[name][1] for name, value in recipe.settings.items())
        assert recipe.reason
    assert presets.find("anti-repetition") == {"temperature": 0.9, "top_k": 40, "repetition_penalty": 1.3}
    presets.find("greedy")["temperature"] = 2
    assert presets.find("greedy")["temperature"] == 0
    with pytest.raises(ValueError, match="'greedy' is a recipe that comes with the package: choose another name"):
        presets.save("greedy", CALM)
    # Nor does a file that was written by hand change them.
    presets.save("calm", CALM)
    presets.path.write_text(presets.path.read_text().replace("calm", "greedy"))
    assert presets.find("greedy") == presets.all()["greedy"] == RECIPES["greedy"].settings


@pytest.mark.parametrize("name", ["", "  ", " calm", "a\nb", "a\x1b[31m", "x" * 61, "\ud800"])
def test_what_cannot_be_a_name(presets, name):
    with pytest.raises(ValueError, match="cannot be the name of a preset"):
        presets.save(name, CALM)
    assert not presets.path.exists()


@pytest.mark.parametrize("name", [5, None, ["greedy"], b"calm"])
def test_a_name_is_a_text(presets, name):
    for use in (presets.find, presets.delete, lambda name: presets.save(name, CALM)):
        with pytest.raises(ValueError, match="name of a preset is a text, not"):
            use(name)


def test_a_link_stays_one_and_who_may_read_stays_so(presets, tmp_path):
    kept = tmp_path / "dotfiles" / "mine.json"
    presets.path.parent.mkdir(parents=True)
    presets.path.symlink_to(kept)
    presets.save("calm", CALM)
    kept.chmod(0o644)
    presets.save("more", CALM)
    assert presets.path.is_symlink()
    assert list(json.loads(kept.read_text())["presets"]) == ["calm", "more"] == list(presets.load())
    assert kept.stat().st_mode & 0o777 == 0o644


def test_an_unknown_name_is_told_what_there_is(presets):
    presets.save("calm", CALM)
    with pytest.raises(ValueError, match=r"no preset 'wild': there are anti-repetition, .*balanced, calm"):
        presets.find("wild")
    with pytest.raises(ValueError, match="no preset 'wild' to delete: you have kept calm"):
        presets.delete("wild")


def file(**presets):
    return json.dumps({"version": 1, "presets": presets})


BROKEN = {
    "not JSON": ("{", "Expecting"),
    "not text": (b"\xff\xfe\x00", "decode"),
    "deep": ("[" * 100_000, "recursion"),
    "a list": ("[]", "it holds no presets"),
    "no presets": ('{"version": 1, "presets": 3}', "it holds no presets"),
    "a later version": ('{"version": 2, "presets": {}}', "it is of version 2, and this package reads 1"),
    "no settings": (file(calm=3), "its preset 'calm' holds no settings"),
    "an unknown setting": (file(calm={"__class__": 1}), "sets '__class__', which is no setting"),
    "out of range": (file(calm={"temperature": 9}), "sets temperature to 9, not to a number from 0.0 to 2.0"),
    "no number": (file(calm={"temperature": "<b>"}), "sets temperature to '<b>', not to a number"),
    "a truth value": (file(calm={"temperature": True}), "sets temperature to True, not"),
    "not a number": (file(calm={"temperature": float("nan")}), "sets temperature to nan, not"),
    "a fraction": (file(calm={"top_k": 3.5}), "sets top_k to 3.5, not to a whole number from 0 to 200"),
    "large": (file(**{str(i): CALM for i in range(50_000)}), "it is too large"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_cannot_be_used_is_told_of_and_stays_as_it_is(presets, case):
    held, why = BROKEN[case]
    held = held if isinstance(held, bytes) else held.encode()
    presets.path.parent.mkdir(parents=True)
    presets.path.write_bytes(held)
    tries = [presets.load, lambda: presets.find("calm"), lambda: presets.save("mine", CALM)]
    for attempt in (*tries, lambda: presets.delete("calm")):
        with pytest.raises(ValueError, match="Repair it or move it away") as caught:
            attempt()
        assert why in str(caught.value)
        assert str(presets.path) in str(caught.value)
    assert presets.path.read_bytes() == held
    assert presets.find("greedy")


def test_a_place_that_cannot_be_written_is_told_of(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"Presets cannot be kept in .*presets\.json: "):
        Presets(RANGES, tmp_path / "file").save("calm", CALM)


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(presets, monkeypatch):
    presets.save("calm", CALM)
    before = sorted(presets.path.parent.iterdir())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ValueError, match="No space left on device"):
        presets.save("more", CALM)
    assert presets.load() == {"calm": CALM}
    assert sorted(presets.path.parent.iterdir()) == before


def _save_some(directory, who):
    for i in range(10):
        Presets(RANGES, directory).save(f"{who} {i}", CALM)


def test_processes_that_save_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_save_some, args=(tmp_path, who)) for who in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert set(Presets(RANGES, tmp_path).load()) == {f"{who} {i}" for who in range(3) for i in range(10)}


def test_the_file_lies_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("AXON_CACHE_DIR", str(tmp_path / "a"))
    assert Presets(RANGES).path == tmp_path / "a" / "presets.json"
    monkeypatch.delenv("AXON_CACHE_DIR")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "b"))
    if sys.platform == "linux":
        assert Presets(RANGES).path == tmp_path / "b" / "axon-widget" / "presets.json"
