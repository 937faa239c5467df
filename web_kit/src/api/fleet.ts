/** The typed client of the fleet server, made from its OpenAPI document by `npm run generate`. */
import createClient, { type Client } from "openapi-fetch";

import type { components, paths } from "./fleet_server";
import { problemOf, Unreachable } from "./problem";

export type Schemas = components["schemas"];
export type FleetClient = Client<paths>;

export const DEADLINE_MS = 10_000;

export interface FleetClientOptions {
  baseUrl: string;
  fetch?: (request: Request) => Promise<Response>;
  /** Told of every answer; for session expiry and the server's clock. */
  onResponse?: (response: Response) => void;
}

/** A client whose requests end in time: unanswered ones reject with `Unreachable`. */
export function fleetClient(options: FleetClientOptions): FleetClient {
  const send = options.fetch ?? ((request: Request) => globalThis.fetch(request));
  return createClient<paths>({
    baseUrl: options.baseUrl,
    headers: { "X-Requested-By": "dashboard" },
    fetch: async (request) => {
      const deadline = AbortSignal.timeout(DEADLINE_MS);
      const signal = AbortSignal.any([request.signal, deadline]);
      let response: Response;
      try {
        response = await send(new Request(request, { signal }));
      } catch (error) {
        if (request.signal.aborted) throw error;
        throw new Unreachable("no answer", { cause: error });
      }
      options.onResponse?.(response);
      return response;
    },
  });
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The data of an answer; throws `ApiProblem` for a refusal. */
export async function take<T>(answer: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await answer;
  if (!response.ok) throw problemOf(response.status, error);
  return data as T; // a 204 has none, and its type is undefined
}
