/** Which of the two palettes fits the page, and word when that changes. */

export type Theme = "dark" | "light";

export function pageTheme(): Theme {
  const { body, documentElement: html } = document;
  const jupyter = body.dataset.jpThemeLight;
  if (jupyter) return jupyter === "true" ? "light" : "dark";
  const code = body.dataset.vscodeThemeKind ?? "";
  if (code) return code.includes("light") ? "light" : "dark";
  for (const element of [html, body]) {
    const named = element.dataset.theme ?? "";
    if (element.classList.contains("dark") || named === "dark") return "dark";
    if (element.classList.contains("light") || named === "light") return "light";
  }
  return matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
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
  const media = matchMedia("(prefers-color-scheme: light)");
  media.addEventListener("change", check);
  return () => {
    observer.disconnect();
    media.removeEventListener("change", check);
  };
}
