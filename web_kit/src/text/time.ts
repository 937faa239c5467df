/** Moments and spans as people read them, in the page's language and the browser's time zone. */

const MINUTE_S = 60;
const HOUR_S = 3_600;
const DAY_S = 86_400;

const cache = new Map<string, unknown>();

function cached<T>(key: string, make: () => T): T {
  if (!cache.has(key)) cache.set(key, make());
  return cache.get(key) as T;
}

/** `3 秒前`, `3 min. ago`; whole units, never negative. */
export function ageText(locale: string, ageS: number): string {
  const relative = cached(`age ${locale}`, () => new Intl.RelativeTimeFormat(locale, { style: "short" }));
  const age = Math.max(0, Math.floor(ageS));
  if (age < MINUTE_S) return relative.format(-age, "second");
  if (age < HOUR_S) return relative.format(-Math.floor(age / MINUTE_S), "minute");
  if (age < 2 * DAY_S) return relative.format(-Math.floor(age / HOUR_S), "hour");
  return relative.format(-Math.floor(age / DAY_S), "day");
}

/** `3 天 4 小时`, `4 h 12 min`, `12 s`: the two largest units. */
export function spanText(locale: string, spanS: number): string {
  const span = Math.max(0, Math.floor(spanS));
  const parts: [number, string][] = [
    [Math.floor(span / DAY_S), "day"],
    [Math.floor((span % DAY_S) / HOUR_S), "hour"],
    [Math.floor((span % HOUR_S) / MINUTE_S), "minute"],
    [span % MINUTE_S, "second"],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first === -1) return unitText(locale, 0, "second");
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => unitText(locale, amount, unit))
    .join(" ");
}

function unitText(locale: string, amount: number, unit: string): string {
  const key = `unit ${locale} ${unit}`;
  return cached(key, () => new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "short" })).format(amount);
}

/** `3月18日 14:30:05`, or with the year when it is not this one. */
export function momentText(locale: string, moment: string | number | Date, now: Date = new Date()): string {
  const date = new Date(moment);
  const hasYear = date.getFullYear() !== now.getFullYear();
  const key = `moment ${locale} ${hasYear}`;
  const format = cached(
    key,
    () =>
      new Intl.DateTimeFormat(locale, {
        ...(hasYear ? { year: "numeric" } : {}),
        month: "short",
        day: "numeric",
        hour: "2-digit",
        minute: "2-digit",
        second: "2-digit",
        hourCycle: "h23",
      }),
  );
  return format.format(date);
}

/** `2026年3月18日`. */
export function dayText(locale: string, moment: string | number | Date): string {
  return cached(`day ${locale}`, () => new Intl.DateTimeFormat(locale, { dateStyle: "medium" })).format(
    new Date(moment),
  );
}

/** `14:30` within a day, `3/18` beyond: a tick of a time axis. */
export function tickText(locale: string, moment: number, spanS: number): string {
  const date = new Date(moment);
  const isMidnight = date.getHours() === 0 && date.getMinutes() === 0;
  if (spanS > 2 * DAY_S || isMidnight) {
    return cached(`tick-day ${locale}`, () => new Intl.DateTimeFormat(locale, { month: "numeric", day: "numeric" })).format(
      date,
    );
  }
  return cached(
    `tick ${locale}`,
    () => new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
  ).format(date);
}
