/** What may be done to a work order in each of its states; the server decides, this only spares a vain click. */
import type { Schemas } from "../server";

export type Order = Schemas["OrderDetail"];
export type Step = "respond" | "visit" | "assign" | "pause" | "resume" | "repair" | "waiver" | "approve_waiver" | "close" | "cancel" | "note";

interface Rule {
  permission: "orders.work" | "orders.approve";
  states: readonly Order["state"][];
  /** Asks for a sentence. */
  asks: boolean;
}

const OPEN = ["new", "assigned", "responded", "on_site", "repaired", "paused"] as const;
export const STEPS: Readonly<Record<Step, Rule>> = {
  respond: { permission: "orders.work", states: ["new", "assigned", "paused"], asks: false },
  visit: { permission: "orders.work", states: [...OPEN], asks: false },
  repair: { permission: "orders.work", states: ["responded", "on_site"], asks: false },
  close: { permission: "orders.work", states: [...OPEN, "verified"], asks: false },
  assign: { permission: "orders.work", states: [...OPEN], asks: true },
  pause: { permission: "orders.work", states: [...OPEN], asks: true },
  resume: { permission: "orders.work", states: ["paused"], asks: false },
  waiver: { permission: "orders.work", states: ["responded", "on_site", "repaired"], asks: true },
  approve_waiver: { permission: "orders.approve", states: ["responded", "on_site", "repaired"], asks: false },
  cancel: { permission: "orders.approve", states: ["new", "assigned", "responded", "on_site"], asks: true },
  note: { permission: "orders.work", states: [...OPEN, "verified", "closed", "cancelled"], asks: true },
};

/** The steps that fit an order now. */
export function stepsFor(order: Order): Step[] {
  return (Object.keys(STEPS) as Step[]).filter(
    (step) => STEPS[step].states.includes(order.state) && (step !== "approve_waiver" || order.waiver_by !== null),
  );
}
