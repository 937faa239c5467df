/** Lists in pages with big buttons: scrolling is hard on a kiosk. */

export interface PageOf<T> {
  items: T[];
  page: number;
  pages: number;
}

/** One page; a page that is not there any more is the last one. */
export function pageOf<T>(items: readonly T[], page: number, size: number): PageOf<T> {
  const pages = Math.max(1, Math.ceil(items.length / size));
  const shown = Math.min(Math.max(0, page), pages - 1);
  return { items: items.slice(shown * size, (shown + 1) * size), page: shown, pages };
}
