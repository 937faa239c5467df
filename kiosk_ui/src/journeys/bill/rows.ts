/** The bills as rows of one list: a head for each bill, then its lines. */
import type { Bill, BillLine } from "../../platform/types";

export interface Row {
  isHead: boolean;
  name: string;
  detail: string;
  amountFen: number;
}

export function rowsOf(bills: readonly Bill[]): Row[] {
  return bills.flatMap((bill) => [
    { isHead: true, name: bill.kind, detail: joined([bill.department, bill.doctor]), amountFen: bill.amount_fen },
    ...bill.lines.map((line) => ({ isHead: false, name: line.name, detail: detailOf(line), amountFen: line.amount_fen })),
  ]);
}

function detailOf({ specification, quantity, unit }: BillLine): string {
  return joined([`×${quantity}${unit ?? ""}`, specification]);
}

function joined(parts: readonly (string | null)[]): string {
  return parts.filter((part) => part !== null && part !== "").join(" · ");
}
