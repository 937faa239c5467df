import { describe, expect, it } from "vitest";

import { freshnessOf } from "../src/live/freshness";
import { ServerClock } from "../src/server_clock";
import { ageText, momentText, spanText, tickText } from "../src/text/time";

describe("an age", () => {
  it.each([
    [-3, "0秒前", "0 sec. ago"],
    [2.9, "2秒前", "2 sec. ago"],
    [59, "59秒前", "59 sec. ago"],
    [60, "1分钟前", "1 min. ago"],
    [3_600, "1小时前", "1 hr. ago"],
    [47 * 3_600, "47小时前", "47 hr. ago"],
    [49 * 3_600, "2天前", "2 days ago"],
  ])("of %d s reads %s", (age, chinese, english) => {
    expect(ageText("zh-CN", age)).toBe(chinese);
    expect(ageText("en", age)).toBe(english);
  });
});

describe("a span", () => {
  it.each([
    [0, "0秒", "0 sec"],
    [65, "1分钟 5秒", "1 min 5 sec"],
    [3_600, "1小时", "1 hr"],
    [3_605, "1小时", "1 hr"],
    [90_061, "1天 1小时", "1 day 1 hr"],
  ])("of %d s reads %s", (span, chinese, english) => {
    expect(spanText("zh-CN", span)).toBe(chinese);
    expect(spanText("en", span)).toBe(english);
  });
});

describe("a moment", () => {
  const now = new Date(2026, 2, 18, 15, 0, 0);

  it("has no year when it is this one", () => {
    expect(momentText("zh-CN", new Date(2026, 2, 18, 0, 5, 9), now)).toBe("3月18日 00:05:09");
    expect(momentText("en", new Date(2026, 2, 18, 14, 30, 5), now)).toBe("Mar 18, 14:30:05");
  });

  it("has the year when it is another", () => {
    expect(momentText("zh-CN", new Date(2025, 11, 31, 23, 59, 59), now)).toBe("2025年12月31日 23:59:59");
  });

  it("on an axis is a time within a day and a day beyond", () => {
    const noon = new Date(2026, 2, 18, 12, 0).getTime();
    expect(tickText("zh-CN", noon, 86_400)).toBe("12:00");
    expect(tickText("zh-CN", noon, 7 * 86_400)).toBe("3/18");
    expect(tickText("en", new Date(2026, 2, 18).getTime(), 86_400)).toBe("3/18");
  });
});

describe("freshness", () => {
  it.each([
    [0, "fresh"],
    [14.9, "fresh"],
    [15, "ageing"],
    [30, "stale"],
    [null, "stale"],
  ])("of an age of %s s is %s", (age, expected) => {
    expect(freshnessOf(age)).toBe(expected);
  });
});

describe("the server's clock", () => {
  const answer = (date: string): Response => new Response(null, { headers: { Date: date } });

  it("is followed when this computer's is wrong", () => {
    let wallMs = Date.parse("2026-03-18T06:00:00Z");
    const clock = new ServerClock(() => wallMs);
    clock.observe(answer("Wed, 18 Mar 2026 07:00:00 GMT"));
    wallMs += 10_000;
    expect(new Date(clock.nowMs()).toISOString()).toBe("2026-03-18T07:00:10.500Z");
  });

  it("is not needed when both agree, and not understood when it is no date", () => {
    const clock = new ServerClock(() => Date.parse("2026-03-18T06:00:01Z"));
    clock.observe(answer("Wed, 18 Mar 2026 06:00:00 GMT"));
    clock.observe(answer("soon"));
    expect(new Date(clock.nowMs()).toISOString()).toBe("2026-03-18T06:00:01.000Z");
  });
});
