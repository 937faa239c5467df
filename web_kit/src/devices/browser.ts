/** The devices of the kiosk whose agent served this page. */
import { browserEnvironment, liveUrl } from "../live/browser";
import { DeviceConnection } from "./connection";
import { type News, PATH } from "./protocol";

/** The token that the agent put into the page; empty in a page it did not serve. */
export function pageToken(page: Document): string {
  return page.querySelector<HTMLMetaElement>('meta[name="api-token"]')?.content ?? "";
}

/** A started connection; when the agent was restarted, and so has another token, the page is loaded anew. */
export function connectDevices(onNews?: (news: News) => void): DeviceConnection {
  const connection = new DeviceConnection({
    url: liveUrl(location, PATH),
    token: () => pageToken(document),
    environment: browserEnvironment,
    onRefused: () => void reloadIfServed(),
    ...(onNews === undefined ? {} : { onNews }),
  });
  connection.start();
  return connection;
}

/** Only another token helps: a page that is refused for another reason must not load itself in circles. */
async function reloadIfServed(): Promise<void> {
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(2_000) });
    const served = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.ok && pageToken(served) !== "" && pageToken(served) !== pageToken(document)) location.reload();
  } catch {
    // Nobody is there yet; the connection goes on trying.
  }
}
