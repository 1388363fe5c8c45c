/** Which of the two palettes fits the page, and word when that changes. */

export type Theme = "dark" | "light";

const LIGHT = "(prefers-color-scheme: light)";
/** Who has colours of their own sees those, whatever the page is called. */
const FORCED = "(forced-colors: active)";

export function pageTheme(): Theme {
  const { body, documentElement: html } = document;
  const system = matchMedia(LIGHT).matches ? "light" : "dark";
  if (matchMedia(FORCED).matches) return system;
  const jupyter = body.dataset.jpThemeLight;
  if (jupyter) return jupyter === "true" ? "light" : "dark";
  const code = body.dataset.vscodeThemeKind ?? "";
  if (code) return code.includes("light") ? "light" : "dark";
  for (const element of [html, body]) {
    const named = element.dataset.theme ?? "";
    if (element.classList.contains("dark") || named === "dark") return "dark";
    if (element.classList.contains("light") || named === "light") return "light";
  }
  return system;
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
  const attributeFilter = ["class", "data-theme", "data-jp-theme-light", "data-vscode-theme-kind"];
  observer.observe(document.body, { attributes: true, attributeFilter });
  observer.observe(document.documentElement, { attributes: true, attributeFilter });
  const media = [LIGHT, FORCED].map((query) => matchMedia(query));
  for (const query of media) query.addEventListener("change", check);
  return () => {
    observer.disconnect();
    for (const query of media) query.removeEventListener("change", check);
  };
}
