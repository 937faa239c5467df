/** Which screen comes after which: the whole way of a patient as one table. */

export const SCREENS = [
  "starting",
  "idle",
  "out_of_service",
  "home",
  "identify",
  "confirm",
  "departments",
  "doctors",
  "slots",
  "hold",
  "bill",
  "pay",
  "takeaway",
] as const;
export type Screen = (typeof SCREENS)[number];

export type Step =
  | "ready" // the kiosk knows that no transaction is open
  | "resume" // a transaction of before the reload is still open
  | "closed" // nothing can be done here now
  | "touched"
  | "goal" // a tile was chosen
  | "identified"
  | "not_me"
  | "to_bill"
  | "to_register"
  | "department"
  | "doctor"
  | "locked" // the slot is held for the patient
  | "lock_lost"
  | "ordered"
  | "to_slots"
  | "settled" // money and posting are done, or as done as they get
  | "back"
  | "home";

const HOME = { home: "home" } as const;

export const TABLE: Readonly<Record<Screen, Readonly<Partial<Record<Step, Screen>>>>> = {
  starting: { ready: "idle", resume: "pay", closed: "out_of_service" },
  idle: { touched: "home", closed: "out_of_service" },
  out_of_service: { ready: "idle", resume: "pay" },
  home: { goal: "identify", to_bill: "bill", to_register: "departments", closed: "out_of_service" },
  identify: { identified: "confirm", back: "home", ...HOME },
  confirm: { to_bill: "bill", to_register: "departments", not_me: "identify", ...HOME },
  departments: { department: "doctors", back: "home", ...HOME },
  doctors: { doctor: "slots", back: "departments", ...HOME },
  slots: { locked: "hold", back: "doctors", ...HOME },
  hold: { ordered: "pay", lock_lost: "slots", back: "slots", ...HOME },
  bill: { ordered: "pay", back: "home", ...HOME },
  pay: { settled: "takeaway", to_bill: "bill", to_register: "departments", to_slots: "slots", back: "home", ...HOME },
  takeaway: {},
};

export class WrongStep extends Error {
  override readonly name = "WrongStep";
}

/** The next screen; a step that the table does not have is a mistake of ours. */
export function step(from: Screen, by: Step): Screen {
  const next = TABLE[from][by];
  if (next === undefined) throw new WrongStep(`${from} has no step ${by}`);
  return next;
}

export function canStep(from: Screen, by: Step): boolean {
  return TABLE[from][by] !== undefined;
}

export type Goal = "pay_bill" | "register";

const WAYS: Readonly<Record<Goal, readonly Screen[]>> = {
  pay_bill: ["identify", "confirm", "bill", "pay", "takeaway"],
  register: ["identify", "confirm", "departments", "doctors", "slots", "hold", "pay", "takeaway"],
};

/** "第 2 步 / 共 4 步"; null where there is no way yet. */
export function progress(goal: Goal | null, screen: Screen): { at: number; of: number } | null {
  if (goal === null) return null;
  const index = WAYS[goal].indexOf(screen);
  return index === -1 ? null : { at: index + 1, of: WAYS[goal].length };
}
