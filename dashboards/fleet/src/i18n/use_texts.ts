import { computed } from "vue";
import { useI18n } from "vue-i18n";

import { ApiProblem, Unreachable } from "@kiosk/web-kit/api/problem";
import * as time from "@kiosk/web-kit/text/time";

import type { Locale } from ".";
import { serverClock } from "../server";

/** Texts that depend on the language: moments, codes of the wire, what went wrong. */
export function useTexts() {
  const { t, te, locale } = useI18n();
  const language = computed(() => locale.value as Locale);

  function orElse(key: string, fallback: string): string {
    return te(key) ? t(key) : te(key, "en") ? t(key) : fallback;
  }

  /** What went wrong, in a sentence for the person in front of the page. */
  function failure(error: unknown): string {
    if (error instanceof Unreachable) return t("failure.unreachable");
    if (!(error instanceof ApiProblem)) return t("failure.unexpected");
    const specific = `problem.${error.code}`;
    if (te(specific)) return t(specific, { tries_left: error.members["tries_left"] ?? "", minutes: minutesOf(error) });
    const sentence = orElse(`failure.http_${error.status}`, t("failure.unexpected"));
    return error.reference === undefined ? sentence : `${sentence} ${t("failure.reference", { id: error.reference })}`;
  }

  return {
    t,
    language,
    failure,
    fault: (code: string) => orElse(`wire.faults.${code}.title`, code),
    remedy: (code: string) => orElse(`wire.faults.${code}.remedy`, ""),
    metric: (name: string) => orElse(`wire.metrics.${name}`, name),
    known: (group: string, value: string) => orElse(`${group}.${value}`, value),
    age: (ageS: number) => time.ageText(language.value, ageS),
    span: (spanS: number) => time.spanText(language.value, spanS),
    moment: (at: string | number) => time.momentText(language.value, at, new Date(serverClock.nowMs())),
    day: (at: string | number) => time.dayText(language.value, at),
    tick: (at: number, spanS: number) => time.tickText(language.value, at, spanS),
  };
}

function minutesOf(problem: ApiProblem): number | string {
  const seconds = problem.members["retry_after_s"];
  return typeof seconds === "number" ? Math.max(1, Math.ceil(seconds / 60)) : "";
}
