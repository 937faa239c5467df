import { describe, expect, it } from "vitest";

import { fleetClient, take } from "../src/api/fleet";
import { ApiProblem, problemOf, Unreachable } from "../src/api/problem";

function clientThat(answer: (request: Request) => Response | Promise<Response>) {
  const seen: Request[] = [];
  const client = fleetClient({
    baseUrl: "http://fleet.test",
    fetch: async (request) => {
      seen.push(request);
      return answer(request);
    },
  });
  return { client, seen };
}

const json = (body: unknown, status = 200): Response =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });

describe("the client", () => {
  it("returns the data and names itself", async () => {
    const { client, seen } = clientThat(() => json([{ area: "A", kiosks: 1, floors: [] }]));
    expect(await take(client.GET("/api/v1/areas"))).toEqual([{ area: "A", kiosks: 1, floors: [] }]);
    expect(seen[0]?.headers.get("X-Requested-By")).toBe("dashboard");
  });

  it("repeats list parameters", async () => {
    const { client, seen } = clientThat(() => json({ series: [], bucket_s: 1, since: "", until: "" }));
    const query = { metric: ["cpu_percent", "disk_percent"] };
    await take(client.GET("/api/v1/kiosks/{kid}/telemetry", { params: { path: { kid: "a" }, query } }));
    expect(seen[0]?.url).toBe("http://fleet.test/api/v1/kiosks/a/telemetry?metric=cpu_percent&metric=disk_percent");
  });

  it("throws the server's problem", async () => {
    const { client } = clientThat(() => json({ code: "kiosk_unknown", title: "No such kiosk", request_id: "r1" }, 404));
    const failure = await take(client.GET("/api/v1/areas")).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ApiProblem);
    expect(failure).toMatchObject({ status: 404, code: "kiosk_unknown", reference: "r1" });
  });

  it("throws a problem for an answer that is none", async () => {
    const { client } = clientThat(() => new Response("<html>", { status: 502 }));
    await expect(take(client.GET("/api/v1/areas"))).rejects.toMatchObject({ status: 502, code: "http_502" });
  });

  it("says when nobody answers", async () => {
    const { client } = clientThat(() => Promise.reject(new TypeError("Failed to fetch")));
    await expect(take(client.GET("/api/v1/areas"))).rejects.toBeInstanceOf(Unreachable);
  });

  it("takes an answer without content", async () => {
    const { client } = clientThat(() => new Response(null, { status: 204 }));
    await expect(take(client.POST("/api/v1/auth/logout"))).resolves.toBeUndefined();
  });
});

describe("a problem", () => {
  it("prefers the incident as what to quote", () => {
    expect(problemOf(500, { code: "internal_error", title: "", incident: "i", request_id: "r" }).reference).toBe("i");
  });
});
