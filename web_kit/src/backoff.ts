/** Full-jitter exponential backoff: all kiosks of a hospital do not come back in the same second. */
export class Backoff {
  private attempts = 0;

  constructor(
    private readonly baseMs: number,
    private readonly capMs: number,
    private readonly random: () => number = Math.random,
  ) {}

  /** The wait before the next try, in milliseconds. */
  next(): number {
    const ceiling = Math.min(this.capMs, this.baseMs * 2 ** Math.min(this.attempts, 20));
    this.attempts += 1;
    return Math.round(ceiling * this.random());
  }

  reset(): void {
    this.attempts = 0;
  }
}
