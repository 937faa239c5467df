import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { CARD } from "./agent";
import { problem } from "./hospital";
import { aStatus } from "./samples";
import { Walk } from "./walk";

let walk: Walk;
beforeEach(() => (walk = new Walk()));
afterEach(() => walk.end());

async function toSlot(): Promise<void> {
  await walk.toGoal("挂号");
  await walk.press("内科");
  await walk.press("王样例");
  await walk.press("08:30");
}

describe("registering", () => {
  it("holds the slot and orders it", async () => {
    await walk.start();
    await toSlot();
    expect(walk.text).toContain("剩余 5:00");
    await walk.advance(10_000);
    expect(walk.text).toContain("剩余 4:50");
    await walk.press("确认，去支付 ¥9.00");
    expect(walk.hospital.of("POST", "/orders")[0]?.body).toEqual({ business: "registration", lock: "l-1" });
    expect(walk.title).toBe("请选择付款方式");
  });

  it("says so when the slot was just taken, and offers the others", async () => {
    await walk.start();
    walk.hospital.next("POST", "/slot-locks", problem(409, "slot_taken"));
    await toSlot();
    expect(walk.text).toContain("刚被别人约走");
    expect(walk.hospital.of("GET", "/slots")).toHaveLength(2);
  });

  it("gives the slot back when the patient turns around", async () => {
    await walk.start();
    await toSlot();
    await walk.press("返回");
    expect(walk.hospital.of("DELETE", "/slot-locks/l-1")).toHaveLength(1);
    expect(walk.title).toBe("请选择时段");
  });

  it("goes back to the times when the hold is over", async () => {
    await walk.start();
    await toSlot();
    for (let minute = 0; minute < 7; minute += 1) {
      await walk.advance(50_000);
      document.dispatchEvent(new Event("pointerdown"));
    }
    expect(walk.text).toContain("保留时间已到");
  });
});

describe("a patient who does nothing", () => {
  it("is asked, may stay, and is let go with everything given back", async () => {
    await walk.start();
    await walk.toPay();
    await walk.advance(61_000);
    expect(walk.text).toContain("您还在吗？");
    await walk.press("我还需要时间");
    expect(walk.text).not.toContain("您还在吗？");
    await walk.advance(62_000);
    await walk.advance(31_000);
    expect(walk.replaced).toEqual([["o-1"]]);
    expect(walk.hospital.of("POST", "/cancel")).toHaveLength(1);
    expect(walk.agent.names().at(-1)).toBe("Session.End");
  });

  it("has twice the time in elder mode, which is offered", async () => {
    walk.hospital.isElder = true;
    await walk.start();
    await walk.press("点击开始");
    await walk.press("缴费");
    walk.agent.ends("Media.ReadFirst", CARD);
    await walk.settled();
    await walk.press("打开长者模式");
    expect(document.documentElement.classList.contains("elder")).toBe(true);
    await walk.advance(119_000);
    expect(walk.text).not.toContain("您还在吗？");
    await walk.advance(2_000);
    expect(walk.text).toContain("您还在吗？");
  });

  it("is let go although the readers fail again and again", async () => {
    walk.agent.endsWith("Media.ReadFirst", { errorCode: "noMedium" }, "deviceNotReady");
    await walk.start();
    await walk.press("点击开始");
    await walk.press("缴费");
    expect(walk.text).toContain("读卡设备暂不可用，请手输就诊号");
    await walk.advance(91_000);
    expect(walk.replaced).toEqual([[]]);
  });

  it("is not waited for at the start", async () => {
    await walk.start();
    await walk.advance(600_000);
    expect(walk.replaced).toEqual([]);
    expect(walk.title).toBe("本机可以办理");
  });
});

describe("the kiosk", () => {
  it("is out of service while an engineer works on it, and says so", async () => {
    walk.agent.endsWith("Session.Begin", { errorCode: "maintenance" }, "commandErrorCode");
    await walk.start();
    await walk.press("点击开始");
    expect(walk.text).toContain("工作人员正在维护本机");
    await walk.advance(16_000);
    expect(walk.title).toBe("本机可以办理");
  });

  it("takes over the lease of its own earlier document", async () => {
    const { agent } = walk;
    agent.endings.delete("Session.Begin");
    agent.endsWith("Session.State", { lease: "old", activity: "in_session" });
    await walk.start();
    await walk.press("点击开始");
    agent.ends("Session.Begin", { errorCode: "sessionActive" }, "commandErrorCode");
    await walk.settled();
    agent.ends("Session.Begin", { lease: "L", activity: "in_session" });
    await walk.settled();
    expect(walk.title).toBe("您要办理什么？");
    expect(agent.names()).toEqual(["Session.Begin", "Session.State", "Session.End", "Session.Begin"]);
  });

  it("shows why something cannot be done", async () => {
    walk.hospital.status = aStatus({
      functions: [
        { function: "register", is_open: false, reason: "his_down" },
        { function: "pay_bill", is_open: true, reason: null },
      ],
    });
    await walk.start();
    await walk.press("点击开始");
    expect(walk.button("挂号").disabled).toBe(true);
    expect(walk.button("挂号").textContent).toContain("医院业务系统暂停");
  });

  it("begins no payment on battery", async () => {
    walk.agent.endsWith("Session.Pay", { errorCode: "onBattery" }, "commandErrorCode");
    await walk.start();
    await walk.toPay();
    await walk.press("微信支付");
    expect(walk.text).toContain("停电中，暂不能付款");
    expect(walk.hospital.of("POST", "/pay")).toHaveLength(0);
  });

  it("speaks English", async () => {
    await walk.start();
    await walk.press("English");
    expect(walk.title).toBe("You can do here");
    expect(document.documentElement.lang).toBe("en");
  });
});

describe("calling staff", () => {
  const told = (isCalled: boolean) =>
    walk.agent.environment.socket.say({
      header: { name: "Kiosk.HelpChanged", type: "unsolicited" },
      payload: { is_called: isCalled },
    });

  it("tells the fleet where the patient is, and may be taken back", async () => {
    await walk.start();
    await walk.press("呼叫帮助");
    walk.agent.endsWith("Kiosk.CallStaff", { is_called: true });
    await walk.press("呼叫工作人员");
    told(true);
    await walk.settled();
    expect(walk.agent.taken.find(({ name }) => name === "Kiosk.CallStaff")?.payload).toEqual({ screen: "idle" });
    expect(walk.text).toContain("已通知工作人员");
    walk.agent.endsWith("Kiosk.WithdrawCall", { is_called: false });
    await walk.press("不再需要帮助");
    told(false);
    await walk.settled();
    expect(walk.text).toContain("需要帮助？");
  });

  it("shows staff the code to check in with, and says when there is none", async () => {
    await walk.start();
    await walk.press("呼叫帮助");
    walk.agent.endsWith("Kiosk.CheckInCode", { code: "HKC1.zzj-001.1.n.c.s", expires_at: "2026-03-02T00:01:00Z" });
    await walk.press("工作人员签到");
    expect(document.querySelector("svg[role=img]")?.getAttribute("aria-label")).toBe("签到二维码");
    walk.agent.endsWith("Kiosk.CheckInCode", { errorCode: "notEnrolled" }, "commandErrorCode");
    await walk.press("工作人员签到");
    expect(walk.text).toContain("现在无法生成签到码");
  });

  it("says so when nobody could be told", async () => {
    await walk.start();
    await walk.press("呼叫帮助");
    walk.agent.endsWith("Kiosk.CallStaff", { errorCode: "notRecorded" }, "commandErrorCode");
    await walk.press("呼叫工作人员");
    expect(walk.text).toContain("未能通知工作人员");
  });
});
