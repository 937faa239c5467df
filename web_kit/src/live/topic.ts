import type { Delta, Row, Snapshot } from "./protocol";

/** What a message did to a topic. `gap`: something was missed, the topic must be asked for again. */
export type Outcome =
  | { kind: "replaced" }
  | { kind: "changed"; keys: string[] }
  | { kind: "duplicate" }
  | { kind: "gap" };

/** The client's copy of one topic: rows by key, and how far it has heard. */
export class TopicRows {
  rows = new Map<string, Row>();
  seq: number | null = null;

  constructor(
    readonly topic: string,
    private readonly keyOf: (row: Row) => string,
  ) {}

  apply(message: Snapshot | Delta): Outcome {
    return message.t === "snap" ? this.replace(message) : this.change(message);
  }

  private replace(message: Snapshot): Outcome {
    this.rows = new Map(message.rows.map((row) => [this.keyOf(row), row]));
    this.seq = message.seq;
    return { kind: "replaced" };
  }

  private change(message: Delta): Outcome {
    if (this.seq === null) return { kind: "gap" };
    if (message.seq <= this.seq) return { kind: "duplicate" };
    if ((message.prev ?? message.seq - 1) > this.seq) return { kind: "gap" };
    for (const row of message.rows) this.rows.set(this.keyOf(row), row);
    for (const key of message.gone ?? []) this.rows.delete(key);
    this.seq = message.seq;
    return { kind: "changed", keys: [...message.rows.map(this.keyOf), ...(message.gone ?? [])] };
  }
}
