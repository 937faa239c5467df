/** A value that tells of its changes; the stores of frameworks are built on it. */
export interface Observable<T> {
  readonly value: T;
  /** Told after every change, until the returned function is called. */
  subscribe(changed: (value: T) => void): () => void;
}

export class Subject<T> implements Observable<T> {
  private readonly listeners = new Set<(value: T) => void>();

  constructor(private current: T) {}

  get value(): T {
    return this.current;
  }

  set(value: T): void {
    if (Object.is(value, this.current)) return;
    this.current = value;
    for (const listener of [...this.listeners]) listener(value);
  }

  subscribe(changed: (value: T) => void): () => void {
    const listener = (value: T): void => changed(value);
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
