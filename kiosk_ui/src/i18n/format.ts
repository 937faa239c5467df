/** Money and moments as patients read them; the hospital's wall clock, whatever the machine's time zone is. */
import { locale } from "./index";

const ZONE = "Asia/Shanghai";

/** Exact: fen are integers and stay so. */
export function amountText(fen: number): string {
  const whole = Math.trunc(Math.abs(fen) / 100);
  const rest = String(Math.abs(fen) % 100).padStart(2, "0");
  return `${fen < 0 ? "-" : ""}¥${whole}.${rest}`;
}

/** `8:30` or a moment, as `08:30`. */
export function clockText(text: string): string {
  if (!text.includes("T")) return text.slice(text.includes(" ") ? text.indexOf(" ") + 1 : 0).slice(0, 5);
  return new Intl.DateTimeFormat("zh-CN", { timeZone: ZONE, hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(
    new Date(text),
  );
}

/** `3月18日 周三`; takes `2026-03-18` and moments. */
export function dayText(text: string): string {
  const moment = new Date(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T12:00:00+08:00` : text);
  if (Number.isNaN(moment.getTime())) return text;
  const format = { timeZone: ZONE, month: "short", day: "numeric", weekday: "short" } as const;
  return new Intl.DateTimeFormat(locale.value, format).format(moment);
}

/** `1:05`, rounded up, so that 0:00 means that it is over. */
export function leftText(leftMs: number): string {
  const seconds = Math.max(0, Math.ceil(leftMs / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** `11月23日 21:30`. */
export function nowText(nowMs: number): string {
  return new Intl.DateTimeFormat(locale.value, {
    timeZone: ZONE,
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  }).format(nowMs);
}
