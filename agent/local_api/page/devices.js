// The page's connection to the devices of its kiosk: see docs/device-api.md. Nothing is ever sent twice.
const PATH = "/api/v1/devices";
const CANCEL = "Common.Cancel";
const STATUS = "Common.StatusChangedEvent";
const RETRY_MS = [500, 1000, 2000, 4000];

export class Refused extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

export class Devices {
  /** `changed` is called whenever status or connection is another. */
  constructor(token, changed) {
    this.token = token;
    this.changed = changed;
    this.statuses = new Map();
    this.isConnected = false;
    this.attempt = 0;
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.open = new Map();
    this.lastId = 0;
    this.socket = new WebSocket(`${scheme}//${location.host}${PATH}`, ["kiosk.v1", `token.${this.token}`]);
    this.socket.onopen = () => {
      this.attempt = 0;
      this.isConnected = true;
      this.statuses.clear();
      this.changed();
    };
    this.socket.onmessage = (event) => this.receive(JSON.parse(event.data));
    this.socket.onclose = () => this.lose();
  }

  lose() {
    this.isConnected = false;
    for (const { reject } of this.open.values()) reject(new Refused("connection_lost"));
    this.open.clear();
    this.changed();
    setTimeout(() => this.retry(), RETRY_MS[Math.min(this.attempt, RETRY_MS.length - 1)] * (0.5 + Math.random()));
    this.attempt += 1;
  }

  /** A restarted agent has another token: then the page is loaded anew. */
  async retry() {
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      const served = new DOMParser().parseFromString(await answer.text(), "text/html");
      const token = served.querySelector('meta[name="api-token"]')?.content;
      if (answer.ok && token && token !== this.token) location.reload();
    } catch {
      // Nobody is there yet.
    }
    this.connect();
  }

  receive({ header, payload }) {
    const command = this.open.get(header.requestId);
    if (header.type === "unsolicited") {
      if (header.name === STATUS) this.note(payload);
    } else if (header.type === "event") {
      command?.onEvent(payload);
    } else if (header.type === "completion" || header.status) {
      this.open.delete(header.requestId);
      if (header.completionCode === "success") command?.resolve(payload);
      else command?.reject(new Refused(payload.errorCode ?? header.completionCode ?? header.status));
    }
  }

  note({ component, ...changes }) {
    const known = { ...this.statuses.get(component), ...changes };
    for (const [word, value] of Object.entries(known)) if (value === null) delete known[word];
    this.statuses.set(component, known);
    this.changed();
  }

  /** Give a command; the number is for `cancel`. */
  call(name, payload = {}, onEvent = () => undefined) {
    if (!this.isConnected) return Promise.reject(new Refused("not_connected"));
    const id = this.send(name, payload);
    return new Promise((resolve, reject) => this.open.set(id, { resolve, reject, onEvent }));
  }

  /** End everything this page has asked for. */
  cancel() {
    if (this.isConnected) this.send(CANCEL, {});
  }

  send(name, payload) {
    this.lastId += 1;
    this.socket.send(JSON.stringify({ header: { name, type: "command", requestId: this.lastId }, payload }));
    return this.lastId;
  }
}
