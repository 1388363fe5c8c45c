"""Which SAEs exist, derived from SAELens' own directory."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class CatalogEntry(NamedTuple):
    """One pretrained SAE. Variance and L0 are None where its authors did not report them."""

    release: str
    id: str
    model: str
    explained_variance: float | None
    l0: float | None
    neuronpedia: str

    @property
    def name(self) -> str:
        """The name to load it by."""
        return f"{self.release}/{self.id}"


def entries() -> list[CatalogEntry]:
    """Give every SAE of SAELens' directory."""
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    return [
        CatalogEntry(
            release=release,
            id=sae_id,
            model=lookup.model,
            # SAELens fills in 1.00 and 0.00 for what was not reported.
            explained_variance=None if (ev := lookup.expected_var_explained.get(sae_id, 1.0)) == 1 else ev,
            l0=(lookup.expected_l0.get(sae_id) or None),
            neuronpedia=lookup.neuronpedia_id.get(sae_id) or "",
        )
        for release, lookup in get_pretrained_saes_directory().items()
        for sae_id in lookup.saes_map
    ]


def find(name: str) -> CatalogEntry:
    """Find an SAE by ``"release/id"``, or by its release where that holds one SAE only.

    Raises
    ------
    ValueError
        If there is none, naming the closest.
    """
    catalog = entries()
    for entry in catalog:
        if entry.name == name:
            return entry
    of_release = [entry for entry in catalog if entry.release == name]
    if len(of_release) == 1:
        return of_release[0]
    if of_release:
        ids = ", ".join(entry.id for entry in of_release[:4])
        raise ValueError(f"{name!r} holds {len(of_release)} SAEs: give one as '{name}/ID', for example {ids}.")
    release = name.split("/")[0]
    same_release = [entry.name for entry in catalog if entry.release == release]
    near = difflib.get_close_matches(name, same_release or [entry.name for entry in catalog], n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(near)}?" if near else " available_saes() lists those there are."
    raise ValueError(f"There is no SAE {name!r}.{hint}")


def available_saes(model: str | None = None) -> pd.DataFrame:
    """List the SAEs that SAELens knows.

    Parameters
    ----------
    model
        Only those of this model.

    Returns
    -------
    pandas.DataFrame
        A row for each SAE: release, id, model, explained variance and L0 as its authors reported them ("not
        reported" otherwise) and its Neuronpedia id.
    """
    import pandas as pd

    rows = [entry for entry in entries() if model is None or entry.model == model]
    table = pd.DataFrame(rows, columns=list(CatalogEntry._fields))
    reported = ["explained_variance", "l0"]
    table[reported] = table[reported].astype(object).where(table[reported].notna(), "not reported")
    return table
