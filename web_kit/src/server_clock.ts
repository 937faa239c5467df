/** The server's wall clock, learnt from the Date header of its answers: a wrong laptop clock shows no wrong ages. */
export class ServerClock {
  private offsetMs = 0;

  constructor(private readonly wallMs: () => number = Date.now) {}

  observe(response: Response): void {
    const header = response.headers.get("Date");
    const serverMs = header === null ? Number.NaN : Date.parse(header);
    if (Number.isNaN(serverMs)) return;
    const difference = serverMs + 500 - this.wallMs(); // the header has whole seconds
    this.offsetMs = Math.abs(difference) > 2_000 ? difference : 0;
  }

  nowMs(): number {
    return this.wallMs() + this.offsetMs;
  }
}
