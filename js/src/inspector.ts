/** Features to read about: what was searched for, the one that is inspected, or what fires on the token looked at. */
import { chosenLine } from "./chosen";
import { el } from "./dom";
import { featurePanel } from "./feature";
import { firingList } from "./firing";
import { type Key, partsOf } from "./frame";
import type { Panel } from "./prompt";
import { searchPanel } from "./search";
import type { Store } from "./store";
import type { Link } from "./wire";

export function inspectorPanel(link: Link, store: Store, live: boolean): Panel {
  const choose = (key: Key) => link.select(partsOf(key).id, partsOf(key).sae);
  const chosen = chosenLine(link, store);
  const now = firingList(link, store, live, choose);
  const one = featurePanel(link, store, live, choose);
  const search = searchPanel(link, store, live, () => update());
  const element = el(
    "section",
    { class: "inspector", axon: "inspector" },
    search.element,
    chosen.element,
    now.element,
    one.element,
  );
  const update = () => {
    search.update();
    chosen.update();
    const key = store.selectedKey;
    now.element.hidden = search.open() || key !== null;
    one.element.hidden = search.open() || key === null;
    if (!search.open()) (key ? one : now).update();
  };
  return {
    element,
    update,
    dispose() {
      search.dispose?.();
      one.dispose?.();
    },
  };
}
