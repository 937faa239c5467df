import { describe, expect, it } from "vitest";

import { initialLocale } from "../src/i18n";
import en from "../src/i18n/en.json";
import zhCn from "../src/i18n/zh-CN.json";

type Node = string | { [key: string]: Node };

function flatten(node: Node, prefix = ""): Map<string, string> {
  if (typeof node === "string") return new Map([[prefix, node]]);
  return new Map(
    Object.entries(node).flatMap(([key, child]) => [...flatten(child, prefix === "" ? key : `${prefix}.${key}`)]),
  );
}

const chinese = flatten(zhCn);
const english = flatten(en);

const sources = import.meta.glob<string>("../src/**/*.{vue,ts}", { query: "?raw", import: "default", eager: true });
const code = Object.values(sources).join("\n");

const quoted = new Set([...code.matchAll(/["'`]([a-z][\w-]*(?:\.[\w-]+)+)["'`]/g)].map((match) => match[1] ?? ""));
/** `presence.${state}` uses every text of the group; so does `known("presence", state)`. */
const groups = new Set([
  ...[...code.matchAll(/`([a-z][\w-]*(?:\.[\w-]+)*)\.\$\{/g)].map((match) => `${match[1]}.`),
  ...[...code.matchAll(/`([a-z][\w-]*\.[a-z]+_)\$\{/g)].map((match) => match[1] ?? ""),
  ...[...code.matchAll(/(?:known\(["']|group=")([\w-]+)["']?/g)].map((match) => `${match[1]}.`),
]);

describe("the texts", () => {
  it("are the same in both languages", () => {
    expect([...english.keys()].sort()).toEqual([...chinese.keys()].sort());
  });

  it("have the same placeholders in both languages", () => {
    const placeholders = (text: string | undefined) => [...(text ?? "").matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();
    for (const [key, text] of chinese) expect([key, placeholders(english.get(key))]).toEqual([key, placeholders(text)]);
  });

  it("are never empty", () => {
    for (const [key, text] of [...chinese, ...english]) expect([key, text.trim()]).not.toEqual([key, ""]);
  });

  it("are in Chinese where they should be", () => {
    const latin = [...chinese].filter(([, text]) => !/[\u4e00-\u9fff]/.test(text) && /[a-z]{2}/i.test(text.replace(/\{\w+\}/g, "")));
    expect(latin.map(([key]) => key)).toEqual(["column.cpu"]);
  });

  it("are all used", () => {
    const isUsed = (key: string): boolean => quoted.has(key) || [...groups].some((group) => key.startsWith(group));
    expect([...chinese.keys()].filter((key) => !isUsed(key))).toEqual([]);
  });

  it("exist wherever one is used by its whole name", () => {
    const used = [...code.matchAll(/\bt\(\s*["']([\w.-]+)["']/g)].map((match) => match[1] ?? "");
    expect(used.length).toBeGreaterThan(100);
    expect(used.filter((key) => !chinese.has(key))).toEqual([]);
  });
});

describe("the language", () => {
  it("is Chinese until something else was chosen", () => {
    const storage = (value: string | null) => ({ getItem: () => value });
    expect(initialLocale(storage(null))).toBe("zh-CN");
    expect(initialLocale(storage("en"))).toBe("en");
    expect(initialLocale(storage("fr"))).toBe("zh-CN");
  });
});
