import { describe, expect, it } from "vitest";
import { effectScope } from "vue";

import { Subject } from "../src/devices/observable";
import { useObservable } from "../src/devices/use_devices";

describe("an observable", () => {
  it("tells changes, and only changes, until it is left", () => {
    const subject = new Subject(1);
    const heard: number[] = [];
    const leave = subject.subscribe((value) => heard.push(value));
    subject.set(1);
    subject.set(2);
    leave();
    subject.set(3);
    expect([heard, subject.value]).toEqual([[2], 3]);
  });

  it("does not mind who leaves while it tells", () => {
    const subject = new Subject("a");
    const heard: string[] = [];
    const leave = subject.subscribe(() => leave());
    subject.subscribe((value) => heard.push(value));
    subject.set("b");
    subject.set("c");
    expect(heard).toEqual(["b", "c"]);
  });

  it("is a reactive value as long as its component lives", () => {
    const subject = new Subject("a");
    const scope = effectScope();
    const value = scope.run(() => useObservable(subject));
    subject.set("b");
    expect(value?.value).toBe("b");
    scope.stop();
    subject.set("c");
    expect(value?.value).toBe("b");
  });
});
