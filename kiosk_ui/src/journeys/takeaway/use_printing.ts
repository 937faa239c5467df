/** Prints the paper of a settled order and tells the platform how it went; a failure is an answer, not an end. */
import { onMounted, type Ref, ref, shallowRef } from "vue";

import { ApiProblem, Unreachable } from "@kiosk/web-kit/api/problem";

import type { FulfilmentReport, Order } from "../../platform/types";
import { useKiosk } from "../kiosk";
import type { PrintOutcome } from "./printing";

export type PrintStage = "none" | "printing" | PrintOutcome["state"];
const REPORT_TRIES = 3;
const REPORT_PAUSE_MS = 2_000;
const ELSEWHERE = "printing_elsewhere";

export interface Printing {
  stage: Readonly<Ref<PrintStage>>;
  outcome: Readonly<Ref<PrintOutcome | null>>;
  print: () => Promise<void>;
}

export function usePrinting(order: Order): Printing {
  const kiosk = useKiosk();
  const { devices, environment, platform } = kiosk.parts;
  const stage = ref<PrintStage>(stageOf(order));
  const outcome = shallowRef<PrintOutcome | null>(null);
  let attempt = 0;

  /** False when another kiosk has this paper in its printer. */
  async function report(what: FulfilmentReport): Promise<boolean> {
    for (let tries = 1; tries <= REPORT_TRIES; tries += 1) {
      try {
        kiosk.order.value = await platform.reportFulfilment(order.order, what);
        return true;
      } catch (error) {
        if (error instanceof ApiProblem && error.code === ELSEWHERE) return false;
        if (!(error instanceof Unreachable)) return true; // the platform knows better
        await new Promise<void>((resolve) => environment.after(REPORT_PAUSE_MS, resolve));
      }
    }
    return true;
  }

  async function printed(): Promise<PrintOutcome> {
    try {
      const receipt = await platform.receipt(order.order);
      if (!(await report({ state: "printing" }))) return { state: "failed", reason: ELSEWHERE };
      return await devices.print(order, receipt, attempt);
    } catch {
      return { state: "failed", reason: "no_receipt" };
    }
  }

  async function print(): Promise<void> {
    stage.value = "printing";
    const found = await printed();
    attempt += 1;
    outcome.value = found;
    stage.value = found.state;
    kiosk.active();
    await report(found);
  }

  onMounted(() => {
    if (stage.value === "printing") void print();
  });
  return { stage, outcome, print };
}

function stageOf(order: Order): PrintStage {
  switch (order.fulfilment) {
    case "none":
      return order.advice === "print" ? "printing" : "none";
    case "waiting":
      return "printing";
    default:
      return order.fulfilment;
  }
}
