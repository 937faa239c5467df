/** The pay screen's work: follows the order, listens to the scanner while a code is awaited, cancels and goes on. */
import { computed, onMounted, onScopeDispose, ref, watch } from "vue";

import { t } from "../../i18n";
import type { Channel, Order } from "../../platform/types";
import { failureText } from "../failure";
import { type Kiosk, useKiosk } from "../kiosk";
import { OrderFollower } from "./follower";
import { stageOf } from "./order_view";
import { Payment, type Refusal } from "./payment";
import { useScanner } from "./use_scanner";

export function usePayment(first: Order) {
  const kiosk = useKiosk();
  const { platform } = kiosk.parts;
  const payment = paymentOf(kiosk, first);
  followed(kiosk, payment, first);
  const scanner = useScanner(payment);
  const stage = computed(() => payment.stage);
  const isCancelling = ref(false);

  watch(stage, (now, before) => {
    if (before !== undefined) kiosk.active();
    scanner.stop();
    if (now === "choose") void scanner.listen();
    else kiosk.notice.value = null; // it was about what is over now
  });
  onMounted(() => {
    if (stage.value === "choose") void scanner.listen();
  });
  onScopeDispose(() => scanner.stop());
  settling(kiosk, payment);

  async function cancel(): Promise<boolean> {
    if (isCancelling.value) return false;
    isCancelling.value = true;
    try {
      payment.learn(await platform.cancel(payment.order.value.order));
      return true;
    } catch (error) {
      kiosk.notice.value = failureText(error);
      return false;
    } finally {
      isCancelling.value = false;
    }
  }

  /** Before anything was paid: the order is given up, and the patient is where they came from. */
  async function back(): Promise<void> {
    if ((await cancel()) && stageOf(payment.order.value) === "ended") again(kiosk, first);
  }

  return {
    payment,
    stage,
    isCancelling,
    cancel,
    back,
    again: () => again(kiosk, first),
    showCode: (channel: Channel) => payment.submit({ channel, method: "qr_code" }),
  };
}

function paymentOf(kiosk: Kiosk, first: Order): Payment {
  const { platform } = kiosk.parts;
  const payment = new Payment(first, {
    pay: (order, request, key) => platform.pay(order, request, key),
    mayBegin: () => kiosk.beginPaying(),
    ask: (order) => platform.order(order, null, 0),
    newKey: () => crypto.randomUUID(),
  });
  watch(payment.order, (order) => (kiosk.order.value = order));
  watch(payment.refusal, (refusal) => (kiosk.notice.value = refusal === null ? null : refusalText(refusal)));
  watch(
    () => payment.isOpen,
    (isOpen) => (kiosk.isSubmitting = isOpen),
    { flush: "sync" },
  );
  onScopeDispose(() => (kiosk.isSubmitting = false));
  return payment;
}

function followed(kiosk: Kiosk, payment: Payment, first: Order): void {
  const { environment, platform } = kiosk.parts;
  const follower = new OrderFollower({
    ask: (order, after, waitS, ending) => platform.order(order, after, waitS, ending),
    after: (ms, run) => environment.after(ms, run),
    random: () => environment.random(),
    onOrder: (order) => payment.learn(order),
    onReached: (isReached) => payment.reached(isReached),
  });
  onMounted(() => void follower.follow(first.order, first.version));
  onScopeDispose(() => follower.stop());
}

function settling(kiosk: Kiosk, payment: Payment): void {
  watch(
    () => payment.stage === "settled",
    (isSettled) => {
      if (!isSettled || kiosk.screen.value !== "pay") return;
      kiosk.order.value = payment.order.value;
      kiosk.go("settled");
    },
    { immediate: true },
  );
}

/** Another try: what is to be paid is looked up anew, because it may have changed. */
function again(kiosk: Kiosk, first: Order): void {
  kiosk.order.value = null;
  kiosk.lock.value = null;
  if (first.business === "bill") kiosk.go("to_bill");
  else kiosk.go(kiosk.doctor.value === null ? "to_register" : "to_slots");
}

function refusalText(refusal: Refusal): string {
  return "problem" in refusal ? failureText(refusal.problem) : t(`refusal.${refusal.code}`);
}
