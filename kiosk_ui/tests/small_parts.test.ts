import { describe, expect, it } from "vitest";

import { CommandFailed } from "@kiosk/web-kit/devices/failure";

import { pageOf } from "../src/components/pages";
import { rowsThatFit } from "../src/components/rows";
import { amountText, clockText, leftText } from "../src/i18n/format";
import { rowsOf } from "../src/journeys/bill/rows";
import { mediumOf, type Read, typed } from "../src/journeys/identify/medium";
import { channelOf } from "../src/journeys/pay/payment_code";
import { found, lettersOf } from "../src/journeys/register/search";
import { outcomeOf, outcomeOfJob, printRequest } from "../src/journeys/takeaway/printing";
import { leftOrders, leftSearch } from "../src/left";
import { anOrder, aStatus } from "./samples";

describe("money and time", () => {
  it("is exact", () => {
    expect([0, 5, 100, 12_350, 10_000_000_00, -1].map(amountText)).toEqual([
      "¥0.00",
      "¥0.05",
      "¥1.00",
      "¥123.50",
      "¥10000000.00",
      "-¥0.01",
    ]);
  });

  it("is the hospital's", () => {
    expect(clockText("08:30:00")).toBe("08:30");
    expect(clockText("2026-03-18 08:30:00")).toBe("08:30");
    expect(clockText("2026-03-18T00:30:00Z")).toBe("08:30");
    expect([65_000, 64_001, 0, -5].map(leftText)).toEqual(["1:05", "1:05", "0:00", "0:00"]);
  });
});

describe("pages of a list", () => {
  it("hold everything once", () => {
    const items = Array.from({ length: 23 }, (_, index) => index);
    const all = [0, 1, 2, 3, 4].flatMap((page) => pageOf(items, page, 5).items);
    expect(all).toEqual(items);
    expect(pageOf(items, 99, 5)).toEqual({ items: [20, 21, 22], page: 4, pages: 5 });
    expect(pageOf([], 3, 5)).toEqual({ items: [], page: 0, pages: 1 });
  });

  it("have at least one row on every screen", () => {
    for (const isElder of [false, true])
      for (const isLow of [false, true])
        for (const isPortrait of [false, true])
          expect(rowsThatFit({ rowRem: 3.5, spareRem: 4, isElder, isLow, isPortrait })).toBeGreaterThan(0);
  });
});

describe("what a reader read", () => {
  const card = { medium: "id_card", component: "id_reader", type: "resident", name: "赵样例", number: "NUMBER-1", number_is_valid: true, sex: "female", born: "1990-01-01", address: "" } as unknown as Read;

  it("becomes what the platform wants to hear", () => {
    expect(mediumOf(card)).toEqual({ kind: "id_card", name: "赵样例", number: "NUMBER-1", sex: "女", born: "1990-01-01" });
    expect(mediumOf({ medium: "code", component: "scanner", text: "MZ100", kinds: [], fingerprint: "f" })).toEqual({ kind: "code", text: "MZ100" });
    const holder = { id_number: "NUMBER-1", name: "赵样例" };
    expect(mediumOf({ medium: "social_card", card_number: "A1", holder } as unknown as Read)).toEqual({
      kind: "social_security_card",
      number: "NUMBER-1",
      name: "赵样例",
      card_number: "A1",
    });
  });

  it("is refused with a reason where it names nobody", () => {
    expect(mediumOf({ ...card, number_is_valid: false } as Read)).toBe("number_invalid");
    expect(mediumOf({ medium: "social_card", card_number: "A1", holder: null } as unknown as Read)).toBe("holder_unknown");
    expect(mediumOf({ medium: "bank_card" } as unknown as Read)).toBe("bank_card");
    const code = { medium: "code", component: "scanner", text: "13", fingerprint: "f" } as const;
    expect(mediumOf({ ...code, kinds: ["wechat_pay"] })).toBe("payment_code");
    expect(mediumOf({ ...code, kinds: ["wechat_pay", "resident_id"] })).toEqual({ kind: "code", text: "13" });
  });

  it("can be typed", () => {
    expect(["1", "2", "delete", "3"].reduce(typed, "")).toBe("13");
    expect(typed("13", "clear")).toBe("");
    expect(typed("1".repeat(20), "2")).toHaveLength(20);
  });
});

describe("a payment code", () => {
  it("names its channel, if that is open", () => {
    const { channels } = aStatus();
    expect(channelOf(["wechat_pay"], channels)).toEqual({ channel: "wechat" });
    expect(channelOf(["alipay_pay"], channels.slice(0, 1))).toEqual({ refused: "channel_closed" });
    expect(channelOf([], channels)).toEqual({ refused: "no_payment_code" });
    expect(channelOf(["unionpay_pay"], channels)).toEqual({ refused: "no_payment_code" });
  });
});

describe("departments", () => {
  const one = (name: string, pinyin: string, has_slots = true) => ({ department: name, name, pinyin, location: "", floor: "", has_slots });
  const all = [one("内科", "neike", false), one("儿科", "erke"), one("耳鼻喉科", "erbihouke"), one("24小时门诊", "24xiaoshi")];

  it("are found by the first letter, those with slots first", () => {
    expect(lettersOf(all)).toEqual(["E", "N"]);
    expect(found(all, null).map(({ name }) => name)).toEqual(["儿科", "耳鼻喉科", "24小时门诊", "内科"]);
    expect(found(all, "E").map(({ name }) => name)).toEqual(["儿科", "耳鼻喉科"]);
  });
});

describe("a bill", () => {
  it("is one list, with a head for each order", () => {
    const line = { name: "阿莫西林", specification: "0.25g*24", quantity: "2", unit: "盒", amount_fen: 2_000 };
    const bill = { bill: "b", kind: "处方", department: "内科", doctor: "", issued_at: "", amount_fen: 2_000, lines: [line] };
    expect(rowsOf([bill])).toEqual([
      { isHead: true, name: "处方", detail: "内科", amountFen: 2_000 },
      { isHead: false, name: "阿莫西林", detail: "×2盒 · 0.25g*24", amountFen: 2_000 },
    ]);
  });
});

describe("printing", () => {
  it("has one key for an order, and another for another attempt", () => {
    const receipt = { template: "registration_ticket" as const, fields: { hospital: "x" }, lines: [] };
    expect(printRequest(anOrder(), receipt, 0)).toMatchObject({ key: "order-o-1", kind: "ticket" });
    expect(printRequest(anOrder(), receipt, 1).key).toBe("order-o-1-1");
    expect(printRequest(anOrder(), { ...receipt, template: "payment_receipt" }, 0).kind).toBe("receipt");
  });

  it("is told to the platform as what is certain", () => {
    const failed = (reason: ConstructorParameters<typeof CommandFailed>[1], errorCode?: string) =>
      outcomeOf(new CommandFailed("Printer.Print", reason, errorCode === undefined ? {} : { errorCode }));
    expect(failed("userError", "failed")?.state).toBe("failed");
    expect(failed("commandErrorCode", "unknown")?.state).toBe("uncertain");
    expect(failed("commandErrorCode", "noSuchComponent")?.state).toBe("failed");
    expect(failed("invalidData")?.state).toBe("failed");
    expect(failed("timeOut")?.state).toBe("uncertain");
    expect(failed("connection_lost")).toBeNull();
    expect(failed("not_connected")).toBeNull();
  });

  it("believes the job that was there before a reload", () => {
    const states = ["printed", "failed", "cancelled", null, "queued", "printing", "unknown"].map((state) => outcomeOfJob(state).state);
    expect(states).toEqual(["printed", "failed", "failed", "failed", "uncertain", "uncertain", "uncertain"]);
  });
});

describe("orders that were left", () => {
  it("are in the address and nowhere else", () => {
    expect([...leftOrders(leftSearch(["a", "b"]))]).toEqual(["a", "b"]);
    expect([...leftOrders("")]).toEqual([]);
    expect(leftSearch([])).toBe("");
  });
});
