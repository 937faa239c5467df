/** What a reader read, as the platform wants to hear it; or why it cannot be used, as a code for the texts. */
import type { DeviceSchemas } from "@kiosk/web-kit/devices/protocol";

import type { Medium } from "../../platform/types";

export type Read = DeviceSchemas["First"]["first"];
export type Unusable = "number_invalid" | "holder_unknown" | "bank_card" | "payment_code";

const PAYMENT_KINDS: ReadonlySet<string> = new Set(["wechat_pay", "alipay_pay", "unionpay_pay"]);

export function mediumOf(read: Read): Medium | Unusable {
  switch (read.medium) {
    case "id_card":
      return read.number_is_valid ? idCard(read) : "number_invalid";
    case "social_card":
      return read.holder == null
        ? "holder_unknown"
        : {
            kind: "social_security_card",
            number: read.holder.id_number,
            name: read.holder.name,
            card_number: read.card_number,
          };
    case "bank_card":
      return "bank_card";
    case "code":
      return isPaymentCode(read.kinds) ? "payment_code" : { kind: "code", text: read.text };
  }
}

/** As hospitals write it; what is neither is left out. */
const SEX: Readonly<Record<string, string>> = { male: "男", female: "女" };

function idCard(read: Extract<Read, { medium: "id_card" }>): Medium {
  return {
    kind: "id_card",
    name: read.name,
    number: read.number,
    ...(SEX[read.sex] === undefined ? {} : { sex: SEX[read.sex] }),
    ...(read.born == null ? {} : { born: read.born }),
    ...(read.address === "" ? {} : { address: read.address }),
  };
}

/** Eighteen digits may be a payment code or a resident's number: only what can be nothing else is refused. */
function isPaymentCode(kinds: readonly string[]): boolean {
  return kinds.length > 0 && kinds.every((kind) => PAYMENT_KINDS.has(kind));
}

export const VISIT_NUMBER_LONGEST = 20;
export const VISIT_NUMBER_SHORTEST = 5;

/** One key of the number pad. */
export function typed(text: string, key: string): string {
  if (key === "clear") return "";
  if (key === "delete") return text.slice(0, -1);
  return (text + key).slice(0, VISIT_NUMBER_LONGEST);
}
