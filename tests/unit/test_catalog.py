from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

from axon_widget import available_saes, catalog
from axon_widget.engine.loading import DEFAULT_MODEL, DEFAULT_SAE


def test_it_holds_every_sae_of_saelens_directory():
    directory = get_pretrained_saes_directory()
    table = available_saes()
    assert len(table) == sum(len(release.saes_map) for release in directory.values()) > 10_000
    assert set(table.release) == set(directory)
    assert set(table.model) == {release.model for release in directory.values()}
    assert not table.duplicated(["release", "id"]).any()
    named = sum(1 for release in directory.values() for sae in release.saes_map if release.neuronpedia_id.get(sae))
    assert (table.neuronpedia != "").sum() == named > 1000


def test_what_was_not_reported_is_not_made_up():
    directory, table = get_pretrained_saes_directory(), available_saes()
    for column, source, filler in (
        ("explained_variance", "expected_var_explained", 1.0),
        ("l0", "expected_l0", 0.0),
    ):
        reported = table[table[column] != "not reported"]
        assert 0 < len(reported) < len(table)
        for row in reported.itertuples():
            assert getattr(row, column) == getattr(directory[row.release], source)[row.id] != filler


def test_one_model_only():
    table = available_saes("gpt2-small")
    assert set(table.model) == {"gpt2-small"}
    assert 0 < len(table) < len(available_saes())
    assert available_saes("no such model").empty


def test_the_default_exists_and_can_be_found():
    entry = catalog.find(DEFAULT_SAE)
    assert (entry.model, entry.name) == (DEFAULT_MODEL, DEFAULT_SAE)
    assert entry.neuronpedia == "gpt2-small/8-res-jb"
    assert entry in catalog.entries()


def test_a_release_of_one_needs_no_id():
    alone = next(r for r, release in get_pretrained_saes_directory().items() if len(release.saes_map) == 1)
    assert catalog.find(alone).release == alone
