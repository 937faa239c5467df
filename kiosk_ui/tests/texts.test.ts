import { describe, expect, it } from "vitest";

import en from "../src/i18n/en.json";
import zhCn from "../src/i18n/zh-CN.json";

const chinese = new Map(Object.entries(zhCn));
const english = new Map(Object.entries(en));
const sources = import.meta.glob<string>("../src/**/*.{vue,ts}", { query: "?raw", import: "default", eager: true });
const code = Object.values(sources).join("\n");
const quoted = new Set([...code.matchAll(/["'`]([a-z]\w*(?:\.\w+)+)["'`]/g)].map((match) => match[1] ?? ""));
/** `closed.${reason}` uses every text of the group; so does `known("reader", code, …)`. */
const groups = [
  ...[...code.matchAll(/`([a-z]\w*\.(?:[a-z]+_)?)\$\{/g)].map((match) => match[1] ?? ""),
  ...[...code.matchAll(/known\("(\w+)"/g)].map((match) => `${match[1]}.`),
];

describe("the texts", () => {
  it("are the same in both languages, placeholders too", () => {
    const placeholders = (text: string | undefined) => [...(text ?? "").matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();
    expect([...english.keys()].sort()).toEqual([...chinese.keys()].sort());
    for (const [key, text] of chinese) expect([key, placeholders(english.get(key))]).toEqual([key, placeholders(text)]);
  });

  it("are in Chinese where they should be, and never empty", () => {
    expect([...chinese].filter(([, text]) => !/[\u4e00-\u9fff]/.test(text))).toEqual([]);
    expect([...english].filter(([, text]) => text.trim() === "" || /[\u4e00-\u9fff]/.test(text))).toEqual([]);
  });

  it("are all used", () => {
    const isUsed = (key: string): boolean => quoted.has(key) || groups.some((group) => key.startsWith(group));
    expect([...chinese.keys()].filter((key) => !isUsed(key))).toEqual([]);
  });

  it("let nothing be stored or drawn as markup", () => {
    expect(code).not.toMatch(/localStorage|sessionStorage|indexedDB|document\.cookie|innerHTML|:style=|\sstyle="/);
  });
});
