/** Which rows of a long list are drawn: those in sight and a few around them. */
export interface Window {
  first: number;
  end: number;
}

export function rowWindow(scrollTop: number, height: number, rowHeight: number, count: number, around = 10): Window {
  const first = Math.max(0, Math.floor(scrollTop / rowHeight) - around);
  const end = Math.min(count, Math.ceil((scrollTop + height) / rowHeight) + around);
  return { first: Math.min(first, Math.max(0, end)), end };
}

/** Where to scroll so that a row is in sight; null when it is already. */
export function scrollFor(index: number, scrollTop: number, height: number, rowHeight: number): number | null {
  const top = index * rowHeight;
  if (top < scrollTop) return top;
  return top + rowHeight > scrollTop + height ? top + rowHeight - height : null;
}
