import { beforeEach, describe, expect, it } from "vitest";
import type { Catalog, Found } from "./catalog";
import { readDetails } from "./details";
import { FakeModel, rawFrame } from "./fixtures";
import { SavedModel } from "./replay";
import { Store } from "./store";
import { Link } from "./wire";

let model: FakeModel;
let link: Link;

beforeEach(() => {
  model = new FakeModel();
  link = new Link(model, new Store());
  link.start();
});

describe("search", () => {
  it("gives each answer to whoever asked for that text, once", () => {
    const heard: [string, Found][] = [];
    for (const asked of ["ki", "king", "king"]) link.search(asked, (found) => heard.push([asked, found]));
    expect(model.asked("search").map(({ text }) => text)).toEqual(["ki", "king", "king"]);
    const answer = {
      ...{ kind: "found", text: "king", rows: [[1, 7, "kings"], ["x"], null], more: true },
      ...{ token: " king", boosting: [[0, 8, "royalty"], 3] },
    };
    model.tell(answer);
    model.tell(answer);
    const found = {
      rows: [["1:7", "kings"]],
      more: true,
      token: " king",
      boosting: [["0:8", "royalty"]],
    };
    expect(heard).toEqual([
      ["king", found],
      ["king", found],
    ]);
    model.tell({ kind: "found", text: "ki" });
    expect(heard.at(-1)).toEqual(["ki", { rows: [], more: false, token: "", boosting: [] }]);
  });

  it("does not mix up questions of different kinds", () => {
    let token: number | null = null;
    let found: Found | null = null;
    link.findToken("a", (answer) => {
      token = answer.tokenId;
    });
    link.search("a", (answer) => {
      found = answer;
    });
    model.tell({ kind: "token", text: "a", token_id: 3, token: " a", error: "" });
    expect([token, found]).toEqual([3, null]);
  });

  it("in a saved run finds what the page holds", () => {
    const labels = ["names of Kings", "a king's horse", "queens", "king of the names"];
    const features = labels.map((label, id) => ({ kind: "feature", id, label, ...(id ? { sae: 0 } : {}) }));
    const saved = new SavedModel({
      info: { model: "m" },
      steps: [rawFrame(1, 0)],
      features: [...features, 3],
    });
    const own = new Link(saved, new Store());
    own.start();
    const ids = (asked: string) => {
      let found: string[] = [];
      own.search(asked, ({ rows }) => {
        found = rows.map(([key]) => key);
      });
      return found;
    };
    expect(ids("king")).toEqual(["0:0", "0:1", "0:3"]);
    expect(ids("king names")).toEqual(["0:0", "0:3"]);
    expect(ids("#2")).toEqual(["0:2"]);
    expect(ids("nothing")).toEqual([]);
  });
});

describe("the catalog", () => {
  const row = {
    ...{ name: "r/blocks.8", model: "gpt2-small", hook: "blocks.8.hook_resid_pre", layer: 8, width: 24576 },
    ...{ l0: 58.5, labelled: true, cached: true, loaded: false, refused: "" },
  };

  it("is read as far as it makes sense", () => {
    let catalog: Catalog | null = null;
    link.browse("gpt2", (answer) => {
      catalog = answer;
    });
    expect(model.asked("catalog")).toEqual([{ kind: "catalog", text: "gpt2" }]);
    const poor = { model: "other", layer: null, width: "wide", l0: Number.NaN, refused: "a transcoder" };
    model.tell({ kind: "catalog", text: "gpt2", total: 316, rows: [row, poor, null, { name: "no model" }] });
    expect(catalog).toEqual({
      total: 316,
      offers: [
        row,
        {
          ...{ name: "", model: "other", hook: "", layer: null, width: null, l0: null },
          ...{ labelled: false, cached: false, loaded: false, refused: "a transcoder" },
        },
      ],
    });
  });

  it("tells of at least as many as it shows", () => {
    let total = 0;
    link.browse("", (answer) => {
      total = answer.total;
    });
    model.tell({ kind: "catalog", text: "", total: "many", rows: [row] });
    expect(total).toBe(1);
  });

  it("is what models are loaded from", () => {
    link.load("gpt2-small", "r/blocks.8");
    link.load("embedded", null);
    expect(model.asked("load")).toEqual([
      { kind: "load", model: "gpt2-small", sae: "r/blocks.8" },
      { kind: "load", model: "embedded", sae: null },
    ]);
  });
});

describe("a label's origin", () => {
  it("is read with its score, and what else was said", () => {
    const details = readDetails({
      ...{ id: 7, explainer: "gpt-4o-mini", method: "pairs", score: 0.8, scored_by: "fuzz" },
      ...{
        others: [["dogs", "o1", 0.5], ["cats", null, "x"], ["", "o1", 1], null],
        fetched: "2026-11-20T10:00:00Z",
      },
    });
    expect(details).toMatchObject({
      ...{ explainer: "gpt-4o-mini", method: "pairs", score: 0.8, scoredBy: "fuzz", fetched: "2026-11-20" },
      others: [
        { text: "dogs", explainer: "o1", score: 0.5 },
        { text: "cats", explainer: "", score: null },
      ],
    });
    expect(readDetails({ id: 7, fetched: "<img>" })).toMatchObject({
      ...{ explainer: "", method: "", score: null, scoredBy: "", others: [], fetched: "" },
    });
  });
});
