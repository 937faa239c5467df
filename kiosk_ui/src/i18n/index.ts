/** Texts in two languages, Chinese first; a session begins in Chinese, because nothing may be remembered. */
import { ref } from "vue";

import en from "./en.json";
import zh from "./zh-CN.json";

export const LOCALES = ["zh-CN", "en"] as const;
export type Locale = (typeof LOCALES)[number];
export type TextKey = keyof typeof zh;

const TEXTS: Readonly<Record<Locale, Readonly<Record<TextKey, string>>>> = { "zh-CN": zh, en };

export const locale = ref<Locale>("zh-CN");

export function chooseLocale(chosen: Locale): void {
  locale.value = chosen;
  document.documentElement.lang = chosen;
}

export function t(key: TextKey, values: Readonly<Record<string, string | number>> = {}): string {
  return TEXTS[locale.value][key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** The text of a code that others choose; `fallback` for one that this version does not know. */
export function known(group: string, code: string | null | undefined, fallback: TextKey): string {
  const key = `${group}.${code ?? ""}`;
  return isKey(key) ? t(key) : t(fallback);
}

function isKey(key: string): key is TextKey {
  return Object.hasOwn(zh, key);
}
