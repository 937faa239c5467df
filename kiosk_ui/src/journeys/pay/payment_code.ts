/** Whose payment code was scanned, and whether that channel takes it now. */
import type { Channel, ChannelStatus, Method } from "../../platform/types";

const CHANNEL_OF: Readonly<Record<string, Channel>> = { wechat_pay: "wechat", alipay_pay: "alipay" };

export type Scanned = { channel: Channel } | { refused: "no_payment_code" | "channel_closed" };

export function channelOf(kinds: readonly string[], channels: readonly ChannelStatus[]): Scanned {
  const found = kinds.map((kind) => CHANNEL_OF[kind]).filter((channel) => channel !== undefined);
  const [first] = found;
  if (first === undefined) return { refused: "no_payment_code" };
  const open = found.find((channel) => takes(channels, channel, "payment_code"));
  return open === undefined ? { refused: "channel_closed" } : { channel: open };
}

export function takes(channels: readonly ChannelStatus[], channel: Channel, method: Method): boolean {
  return channels.some((one) => one.channel === channel && one.is_open && one.methods.includes(method));
}
