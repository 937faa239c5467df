/* The control API of the lab. */

const TOKEN_KEY = "lab-token";
const RETRY_MS = 1_000;

export class Refused extends Error {}

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(TOKEN_KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(TOKEN_KEY);
}

export class Lab {
  constructor() {
    this.token = takeToken();
  }

  async fetch(path, options = {}) {
    const headers = { Authorization: `Bearer ${this.token}` };
    if (options.body) headers["Content-Type"] = "application/json";
    const answer = await fetch(path, { ...options, headers });
    if (answer.status === 401) this.forgetToken();
    if (!answer.ok) throw new Refused(await problem(answer));
    return answer;
  }

  async list(path) {
    return (await (await this.fetch(path)).json()).items;
  }

  async picture(path) {
    return URL.createObjectURL(await (await this.fetch(path)).blob());
  }

  async act(kiosk, component, action, given) {
    const body = JSON.stringify({ action, arguments: given });
    return (await this.fetch(`${devicePath(kiosk, component)}/actions`, { method: "POST", body })).json();
  }

  forgetToken() {
    this.token = null;
    sessionStorage.removeItem(TOKEN_KEY);
  }

  /* Tells `heard` of every change for as long as the token is good; `linked` says whether the lab is there. */
  async listen(heard, linked) {
    while (this.token) {
      try {
        const answer = await this.fetch("/api/v1/events");
        await linked(true);
        await read(answer.body.getReader(), heard);
      } catch (error) {
        if (!(error instanceof TypeError || error instanceof Refused || error instanceof DOMException)) throw error;
      }
      await linked(false);
      if (this.token) await new Promise((resume) => setTimeout(resume, RETRY_MS));
    }
  }
}

export function devicePath(kiosk, component) {
  return `/api/v1/kiosks/${encodeURIComponent(kiosk)}/devices/${encodeURIComponent(component)}`;
}

async function read(reader, heard) {
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (data) heard(JSON.parse(data.slice(6)));
    }
  }
}

async function problem(answer) {
  try {
    const said = await answer.json();
    const parts = (said.errors ?? []).map((error) => `${error.location}: ${error.message}`);
    return [said.title, ...parts].join(" · ");
  } catch {
    return `HTTP ${answer.status}`;
  }
}
