/** The scanner, while the patient may show a payment code. */
import { known } from "../../i18n";
import { useKiosk } from "../kiosk";
import type { Payment } from "./payment";
import { channelOf } from "./payment_code";

export interface Scanner {
  listen: () => Promise<void>;
  stop: () => void;
}

export function useScanner(payment: Payment): Scanner {
  const kiosk = useKiosk();
  const signal = kiosk.screenSignal;
  let listening = new AbortController();

  async function listen(): Promise<void> {
    listening = new AbortController();
    const ending = AbortSignal.any([signal, listening.signal]);
    while (!ending.aborted) {
      try {
        const { kinds, text } = await kiosk.parts.devices.readPaymentCode(ending, ({ errorCode, is_over }) =>
          complain(errorCode, !is_over),
        );
        const found = channelOf(kinds, kiosk.status.value?.channels ?? []);
        kiosk.active();
        if ("refused" in found) complain(found.refused, true);
        else await payment.submit({ channel: found.channel, method: "payment_code", code: text });
      } catch {
        return; // the screen or the stage was left
      }
    }
  }

  function complain(code: string, isSomebodyThere: boolean): void {
    if (signal.aborted) return;
    if (isSomebodyThere) kiosk.active();
    kiosk.notice.value = known("scanner", code, "scanner.other");
  }

  return { listen, stop: () => listening.abort() };
}
