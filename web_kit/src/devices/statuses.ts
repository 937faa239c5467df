import { type Observable, Subject } from "./observable";

/** The words of one component: `device`, `kind`, `faults` and those of its kind, such as `media` or `paper`. */
export type Status = Readonly<Record<string, boolean | number | string | readonly string[]>>;
export type Statuses = ReadonlyMap<string, Status>;

const NOTHING: Status = {};

/**
 * How every component is. A new connection is told everything from the start: until that is complete, what was known
 * before is shown, afterwards nothing of it is left.
 */
export class ComponentStatuses {
  private readonly shown = new Subject<Statuses>(new Map());
  private arriving: Map<string, Status> | null = null;

  get all(): Observable<Statuses> {
    return this.shown;
  }

  /** A connection begins to tell everything. */
  begin(): void {
    this.arriving = new Map();
  }

  /** It has told everything. */
  settle(): void {
    if (this.arriving === null) return;
    const complete = this.arriving;
    this.arriving = null;
    this.shown.set(complete);
  }

  /** The connection ended before it had told everything. */
  abandon(): void {
    this.arriving = null;
  }

  apply(payload: Record<string, unknown>): void {
    const { component, ...changes } = payload;
    if (typeof component !== "string") return;
    const known = this.arriving ?? new Map(this.shown.value);
    const kept = Object.entries({ ...(known.get(component) ?? NOTHING), ...changes }).filter(([, word]) => word !== null);
    known.set(component, Object.fromEntries(kept) as Status);
    if (this.arriving === null) this.shown.set(known);
  }
}
