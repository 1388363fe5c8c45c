/** Which of the two palettes fits the page, and word when that changes. */

export type Theme = "dark" | "light";

const LIGHT = "(prefers-color-scheme: light)";
/** Who has colours of their own sees those, whatever the page is called. */
const FORCED = "(forced-colors: active)";

/** As much of an element as hosts write their theme on. */
interface Marked {
  classList: Iterable<string>;
  getAttribute(name: string): string | null;
}

/** The attributes by which hosts name their theme: some (marimo, VS Code) do it by classes. */
const ATTRIBUTES = ["data-theme", "theme", "data-vscode-theme-kind"]; // "theme" is Colab's
const NAMES: Record<string, Theme> = {
  dark: "dark",
  light: "light",
  "vscode-dark": "dark",
  "vscode-light": "light",
  "vscode-high-contrast": "dark",
  "vscode-high-contrast-light": "light",
};

/** The theme that a page names, null where it names none. */
export function namedTheme(html: Marked, body: Marked): Theme | null {
  const jupyter = body.getAttribute("data-jp-theme-light");
  if (jupyter) return jupyter === "true" ? "light" : "dark";
  const words = [body, html].flatMap((element) => [
    ...ATTRIBUTES.map((name) => element.getAttribute(name) ?? ""),
    ...element.classList,
  ]);
  // VS Code marks what has much contrast twice, the second time as what it is.
  const found = words.map((word) => NAMES[word]).filter((theme) => theme !== undefined);
  return words.includes("vscode-high-contrast-light") ? "light" : (found[0] ?? null);
}

function pageTheme(): Theme {
  const system = matchMedia(LIGHT).matches ? "light" : "dark";
  if (matchMedia(FORCED).matches) return system;
  return namedTheme(document.documentElement, document.body) ?? system;
}

export function watchTheme(apply: (theme: Theme) => void): () => void {
  let current = pageTheme();
  apply(current);
  const check = () => {
    const next = pageTheme();
    if (next === current) return;
    current = next;
    apply(next);
  };
  const observer = new MutationObserver(check);
  const attributeFilter = ["class", "data-jp-theme-light", ...ATTRIBUTES];
  observer.observe(document.body, { attributes: true, attributeFilter });
  observer.observe(document.documentElement, { attributes: true, attributeFilter });
  const media = [LIGHT, FORCED].map((query) => matchMedia(query));
  for (const query of media) query.addEventListener("change", check);
  return () => {
    observer.disconnect();
    for (const query of media) query.removeEventListener("change", check);
  };
}
