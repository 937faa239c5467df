/**
 * What the patient platform and this page say to each other; the agent passes it on with the kiosk's certificate.
 *
 * Amounts are fen, moments RFC 3339. Closed lists are written out, so that a screen for each is checked.
 */

export type BusinessFunction = "pay_bill" | "register";
export type Channel = "wechat" | "alipay";
export type Method = "payment_code" | "qr_code";
export type Business = "bill" | "registration";

export interface PlatformStatus {
  now: string;
  hospital: string;
  campus: string;
  functions: { function: BusinessFunction; is_open: boolean; reason: "his_down" | "no_channel" | null }[];
  channels: ChannelStatus[];
}

export interface ChannelStatus {
  channel: Channel;
  is_open: boolean;
  methods: Method[];
  reason: "channel_down" | "switched_off" | null;
}

export type Medium =
  | { kind: "id_card"; name: string; number: string; sex?: string; born?: string; address?: string }
  | { kind: "social_security_card"; number: string; name: string; card_number: string }
  | { kind: "code"; text: string }
  | { kind: "visit_number"; text: string };

export interface Patient {
  display_name: string;
  number_tail: string | null;
  phone: string | null;
  is_elder: boolean;
  is_new: boolean;
}

export interface PatientSession {
  session: string;
  expires_at: string;
  patient: Patient;
}

export interface BillLine {
  name: string;
  specification: string;
  quantity: string;
  unit: string;
  amount_fen: number;
}

export interface Bill {
  bill: string;
  kind: string;
  department: string;
  doctor: string;
  issued_at: string;
  amount_fen: number;
  lines: BillLine[];
}

export interface Bills {
  bills: Bill[];
  bill_hash: string;
  total_fen: number;
}

export interface Department {
  department: string;
  name: string;
  pinyin: string;
  location: string;
  floor: string;
  has_slots: boolean;
}

export interface Doctor {
  doctor: string;
  name: string;
  title: string;
  fee_fen: number;
  left: number;
}

export interface Slot {
  schedule: string;
  number: number;
  date: string;
  begin: string;
  end: string;
  left: number;
  fee_fen: number;
}

export interface SlotLock {
  lock: string;
  expires_at: string;
  fee_fen: number;
  queue_number: string;
  department: string;
  doctor: string;
  begin: string;
  end: string;
}

export type Money =
  | "created"
  | "submitted"
  | "pending"
  | "unknown"
  | "paid"
  | "failed"
  | "reversing"
  | "reverse_unknown"
  | "closed"
  | "reversed"
  | "late_paid"
  | "manual";
export type Posting = "not_ready" | "ready" | "posting" | "posted" | "post_unknown" | "rejected" | "manual";
export type Fulfilment = "none" | "waiting" | "printing" | "printed" | "failed" | "uncertain";
export type Advice =
  | "pay"
  | "confirm_on_phone"
  | "show_code"
  | "wait"
  | "do_not_pay_again"
  | "print"
  | "done"
  | "refunding"
  | "refunded"
  | "ended"
  | "ask_staff";

export interface Order {
  order: string;
  version: number;
  case_number: string;
  business: Business;
  session: string;
  amount_fen: number;
  channel: Channel | null;
  method: Method | null;
  money: Money;
  posting: Posting;
  fulfilment: Fulfilment;
  qr_text: string | null;
  expires_at: string | null;
  is_settled: boolean;
  can_cancel: boolean;
  advice: Advice;
  reason: string | null;
  refunded_fen: number;
  created_at: string;
}

export type OrderRequest = { business: "bill"; bills: string[]; bill_hash: string } | { business: "registration"; lock: string };

export type PaymentRequest =
  | { channel: Channel; method: "payment_code"; code: string }
  | { channel: Channel; method: "qr_code" };

export interface FulfilmentReport {
  state: "printing" | "printed" | "failed" | "uncertain";
  reason?: string;
}

export interface ReceiptPaper {
  template: "payment_receipt" | "registration_ticket";
  fields: Record<string, string>;
  lines: { name: string; specification: string; quantity: string; amount: string }[];
}
