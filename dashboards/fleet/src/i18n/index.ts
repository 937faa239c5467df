/** Languages of the pages: Chinese first, the choice remembered in this browser. */
import en from "element-plus/es/locale/lang/en";
import zhCn from "element-plus/es/locale/lang/zh-cn";
import { createI18n } from "vue-i18n";

import wireEn from "@kiosk/web-kit/text/wire.en.json";
import wireZh from "@kiosk/web-kit/text/wire.zh-CN.json";

import pagesEn from "./en.json";
import pagesZh from "./zh-CN.json";

export const LOCALES = ["zh-CN", "en"] as const;
export type Locale = (typeof LOCALES)[number];

export const ELEMENT_LOCALES = { "zh-CN": zhCn, en } as const;
const STORAGE_KEY = "language";

type Messages = typeof pagesZh & { wire: typeof wireZh };
const messages: Record<Locale, Messages> = {
  "zh-CN": { ...pagesZh, wire: wireZh },
  en: { ...pagesEn, wire: wireEn },
};

function isLocale(text: string | null): text is Locale {
  return LOCALES.some((locale) => locale === text);
}

/** The language chosen before, Chinese otherwise. */
export function initialLocale(storage: Pick<Storage, "getItem">): Locale {
  const stored = storage.getItem(STORAGE_KEY);
  return isLocale(stored) ? stored : "zh-CN";
}

export const i18n = createI18n<false>({
  legacy: false,
  locale: "zh-CN",
  fallbackLocale: "en",
  messages,
});

/** Shows the pages in a language from now on. */
export function chooseLocale(locale: Locale, storage: Pick<Storage, "setItem">): void {
  i18n.global.locale.value = locale;
  document.documentElement.lang = locale;
  storage.setItem(STORAGE_KEY, locale);
}
