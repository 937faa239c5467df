import { describe, expect, it } from "vitest";

import { parseMessage, type Row } from "../src/live/protocol";
import { TopicRows } from "../src/live/topic";

const keyOf = (row: Row): string => String(row["kid"]);

function topicAt(seq: number): TopicRows {
  const topic = new TopicRows("kiosks", keyOf);
  topic.apply({ t: "snap", topic: "kiosks", seq, rows: [{ kid: "a", n: 1 }, { kid: "b", n: 1 }] });
  return topic;
}

describe("a topic's rows", () => {
  it("are those of the snapshot, then of the changes", () => {
    const topic = topicAt(5);
    const outcome = topic.apply({ t: "d", topic: "kiosks", seq: 6, prev: 5, rows: [{ kid: "b", n: 2 }] });
    expect(outcome).toEqual({ kind: "changed", keys: ["b"] });
    expect([...topic.rows.values()].map((row) => row["n"])).toEqual([1, 2]);
    expect(topic.seq).toBe(6);
  });

  it("ignore what they know already", () => {
    const topic = topicAt(5);
    expect(topic.apply({ t: "d", topic: "kiosks", seq: 5, prev: 4, rows: [{ kid: "b", n: 9 }] }).kind).toBe("duplicate");
    expect(topic.rows.get("b")?.["n"]).toBe(1);
  });

  it("notice a gap and stay as they are", () => {
    const topic = topicAt(5);
    expect(topic.apply({ t: "d", topic: "kiosks", seq: 8, prev: 7, rows: [{ kid: "b", n: 9 }] }).kind).toBe("gap");
    expect(topic.rows.get("b")?.["n"]).toBe(1);
    expect(topic.seq).toBe(5);
  });

  it("notice a gap without prev too", () => {
    expect(topicAt(5).apply({ t: "d", topic: "kiosks", seq: 7, rows: [] }).kind).toBe("gap");
  });

  it("take numbers that skip as long as they say what they follow", () => {
    expect(topicAt(5).apply({ t: "d", topic: "kiosks", seq: 90, prev: 5, rows: [] }).kind).toBe("changed");
  });

  it("need a snapshot before any change", () => {
    expect(new TopicRows("kiosks", keyOf).apply({ t: "d", topic: "kiosks", seq: 1, rows: [] }).kind).toBe("gap");
  });

  it("lose what is gone", () => {
    const topic = topicAt(5);
    const outcome = topic.apply({ t: "d", topic: "kiosks", seq: 6, rows: [], gone: ["a"] });
    expect(outcome).toEqual({ kind: "changed", keys: ["a"] });
    expect(topic.rows.has("a")).toBe(false);
  });

  it("start over with another server's numbers", () => {
    const topic = topicAt(900);
    topic.apply({ t: "snap", topic: "kiosks", seq: 3, rows: [{ kid: "c" }] });
    expect([...topic.rows.keys()]).toEqual(["c"]);
    expect(topic.apply({ t: "d", topic: "kiosks", seq: 4, prev: 3, rows: [] }).kind).toBe("changed");
  });
});

describe("a message", () => {
  it.each(["", "{", "null", "[]", "3", '{"t":"later"}', '{"t":"d","topic":"kiosks"}', '{"t":"snap","topic":1,"seq":1,"rows":[]}'])(
    "that is %j is not understood",
    (text) => {
      expect(parseMessage(text)).toBeNull();
    },
  );

  it("may be a pulse", () => {
    expect(parseMessage('{"t":"ping"}')).toEqual({ t: "ping" });
  });
});
