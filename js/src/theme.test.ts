import { describe, expect, it } from "vitest";
import { namedTheme } from "./theme";

/** An element with these classes and attributes. */
function marked(classes: string, attributes: Record<string, string> = {}) {
  return { classList: classes.split(" "), getAttribute: (name: string) => attributes[name] ?? null };
}
const bare = marked("");

describe("the theme that a page names", () => {
  it.each([
    ["JupyterLab", bare, marked("jp-ThemedContainer", { "data-jp-theme-light": "true" }), "light"],
    ["JupyterLab", bare, marked("light", { "data-jp-theme-light": "false" }), "dark"],
    ["VS Code", bare, marked("vscode-dark", { "data-vscode-theme-kind": "vscode-dark" }), "dark"],
    ["VS Code", bare, marked("notebook vscode-light"), "light"],
    [
      "VS Code",
      bare,
      marked("vscode-high-contrast", { "data-vscode-theme-kind": "vscode-high-contrast" }),
      "dark",
    ],
    [
      "VS Code",
      bare,
      marked("vscode-high-contrast vscode-high-contrast-light", {
        "data-vscode-theme-kind": "vscode-high-contrast-light",
      }),
      "light",
    ],
    ["Colab", marked("", { theme: "dark" }), bare, "dark"],
    ["Colab", marked("", { theme: "light" }), bare, "light"],
    ["marimo", bare, marked("dark dark-theme", { "data-theme": "dark" }), "dark"],
    ["marimo", marked("light"), bare, "light"],
    ["a page that follows the system", bare, marked("darkness lightbox", { "data-theme": "auto" }), null],
  ])("%s", (_, html, body, theme) => {
    expect(namedTheme(html, body)).toBe(theme);
  });
});
