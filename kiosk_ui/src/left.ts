/**
 * Orders that their patients walked away from, in the page's own address: the next document must not show them to the
 * next patient. An order's number says nothing about a person, and no storage is used.
 */
const NAME = "left";

export function leftOrders(search: string): ReadonlySet<string> {
  return new Set((new URLSearchParams(search).get(NAME) ?? "").split(",").filter((order) => order !== ""));
}

export function leftSearch(orders: readonly string[]): string {
  return orders.length === 0 ? "" : `?${new URLSearchParams({ [NAME]: orders.join(",") }).toString()}`;
}
