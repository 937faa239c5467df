/** The fleet server these pages came from. */
import { type FleetClient, fleetClient, take } from "@kiosk/web-kit/api/fleet";
import { ServerClock } from "@kiosk/web-kit/server_clock";

export type { Schemas } from "@kiosk/web-kit/api/fleet";
export { take };

export const serverClock = new ServerClock();
const unauthenticatedListeners = new Set<() => void>();
const UNAUTHENTICATED = 401;

export const server: FleetClient = fleetClient({
  baseUrl: globalThis.location.origin,
  onResponse(response) {
    serverClock.observe(response);
    if (response.status === UNAUTHENTICATED) for (const tell of unauthenticatedListeners) tell();
  },
});

/** Be told when an answer says that nobody is signed in any more. */
export function onUnauthenticated(tell: () => void): void {
  unauthenticatedListeners.add(tell);
}
