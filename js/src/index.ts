/** The widget's module: a factory for anywidget, and the same view over a saved run. */
import type { AnyModel, AnyWidget } from "@anywidget/types";
import { SavedModel } from "./replay";
import { Store } from "./store";
import { mount } from "./view";
import { Link, type Port } from "./wire";

interface Session {
  store: Store;
  link: Link;
}

function open(model: Port): Session {
  const store = new Store();
  const link = new Link(model, store);
  link.start();
  return { store, link };
}

function port(model: AnyModel): Port {
  return {
    get: (name) => model.get(name),
    on: (name, callback) => model.on(name, callback),
    off: (name, callback) => model.off(name, callback),
    send: (content) => model.send(content),
  };
}

/** anywidget calls this once per model, and hands `initialize` and each `render` different proxies of it. */
function widget() {
  const sessions = new WeakMap<AnyModel, Session>();
  let newest: Session | null = null;
  const definition: Exclude<AnyWidget, () => unknown> = {
    initialize({ model }) {
      const session = open(port(model));
      sessions.set(model, session);
      newest = session;
      return () => {
        session.link.dispose();
        if (newest === session) newest = null;
      };
    },
    render({ model, el }) {
      let session = sessions.get(model) ?? newest;
      if (!session) {
        // A host that never calls initialize.
        session = open(port(model));
        sessions.set(model, session);
      }
      return mount(session.link, session.store, el, true);
    },
  };
  return definition;
}

export default widget;

/** Shows a saved run in `element`, without a kernel; the result takes it away again. */
export function replay(data: unknown, element: HTMLElement): () => void {
  const { store, link } = open(new SavedModel(data));
  const unmount = mount(link, store, element, false);
  return () => {
    unmount();
    link.dispose();
  };
}
