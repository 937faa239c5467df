// The engineer's view of one kiosk: asks the local API every second and shows what it says.
import { WORDS } from "./maintenance_texts.js";

const REFRESH_MS = 1000;
const TEXTS = {
  zh: {
    title: "自助机状态", kiosk: "自助机", functions: "患者可用功能", available: "可用", lost: "不可用", not_seen: "尚未收到状态",
    maintenance: "现场维护", pairing: "登记配对码", alarms: "当前告警", components: "部件", uplink: "与管理服务器的连接", machine: "主机",
    none: "无", hint: (s) => `请工程师在管理页面输入此码（${s} 秒内有效）`, stale: "代理程序没有应答，以下内容可能已过时",
    not_enrolled: "未登记", enrolling: "等待登记", connecting: "正在连接", connected: "已连接", refused: "被拒绝", offline: "离线",
    ok: "正常", degraded: "降级", faulted: "故障", silent: "无数据", unknown: "未知",
    session: "会话", epoch: "记录批次", queue: "待发记录", oldest: "最早待发", server: "服务器", error: "最近错误",
    yes: "在线", no: "离线", version: "版本", uptime: "代理已运行", offset: "时钟偏差", certificate: "证书到期",
    cpu_percent: "处理器", memory_percent: "内存", disk_percent: "磁盘", temperature_c: "温度",
  },
  en: {
    title: "Kiosk status", kiosk: "Kiosk", functions: "What patients can do", available: "available", lost: "not available", not_seen: "not heard yet",
    maintenance: "Maintenance", pairing: "Pairing code", alarms: "Open alarms", components: "Components", uplink: "Link to the fleet server", machine: "Machine",
    none: "none", hint: (s) => `The engineer types this code in the fleet dashboard (valid for ${s} s)`, stale: "The agent does not answer; what you see may be old",
    not_enrolled: "not enrolled", enrolling: "waiting for the engineer", connecting: "connecting", connected: "connected", refused: "refused", offline: "offline",
    ok: "ok", degraded: "degraded", faulted: "faulted", silent: "silent", unknown: "unknown",
    session: "Session", epoch: "Epoch", queue: "Records waiting", oldest: "Oldest waiting", server: "Server", error: "Last error",
    yes: "online", no: "offline", version: "Version", uptime: "Agent up for", offset: "Clock offset", certificate: "Certificate expires",
    cpu_percent: "CPU", memory_percent: "Memory", disk_percent: "Disk", temperature_c: "Temperature",
  },
};
const LINK_TONE = { connected: "good", connecting: "warn", enrolling: "warn", not_enrolled: "warn", offline: "bad", refused: "bad" };
const FUNCTION_TONE = { available: "good", degraded: "warn", lost: "bad" };
const UNITS = { cpu_percent: "%", memory_percent: "%", disk_percent: "%", temperature_c: "°C" };
const token = document.querySelector('meta[name="api-token"]').content;
let language = "zh";
let last = null;
let words = null; // of the wire's tables

const text = (key) => TEXTS[language][key] ?? key;
const word = (table, key) => words?.[table][key]?.[language === "zh" ? 0 : 1] ?? text(key);
const kind = (name) => WORDS.kinds[last.state.components.find((part) => part.name === name)?.kind]?.[language === "zh" ? 0 : 1];
const device = (name) => kind(name) ?? name;
const at = (id) => document.getElementById(id);
const ask = async (path) => {
  const response = await fetch(path, { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
};

function rows(list, pairs) {
  list.replaceChildren(
    ...pairs.flatMap(([name, value]) => {
      const term = document.createElement("dt");
      const meaning = document.createElement("dd");
      term.textContent = name;
      meaning.textContent = value;
      return [term, meaning];
    }),
  );
}

/** A time span with the two units that matter. */
function span(seconds) {
  const units = language === "zh" ? ["天", "小时", "分", "秒"] : ["d", "h", "min", "s"];
  const parts = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  const first = parts.findIndex((part) => part > 0);
  if (first < 0) return `0 ${units[3]}`;
  return parts.slice(first, first + 2).map((part, place) => `${part} ${units[first + place]}`).join(" ");
}

function frame({ state, enrolment }) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = text("title");
  for (const heading of document.querySelectorAll("[data-text]")) heading.textContent = text(heading.dataset.text);
  at("language").textContent = language === "zh" ? "English" : "中文";
  at("language").lang = language === "zh" ? "en" : "zh-CN";
  at("kid").textContent = state.kid ?? text("kiosk");
  const badge = at("link");
  badge.textContent = text(state.uplink.state);
  badge.className = `badge ${LINK_TONE[state.uplink.state] ?? ""}`;
  at("pairing").hidden = !enrolment.pairing_code;
  at("code").textContent = enrolment.pairing_code ?? "";
  at("code-hint").textContent = text("hint")(Math.round(enrolment.expires_in_s ?? 0));
}

function functionBadge({ function: name, state, lacks, because }) {
  const item = document.createElement("li");
  const reasons = because.map(({ component, code }) => `${device(component)}: ${word("faults", code)}`);
  const said = [text(state), ...(lacks ? [word("lacks", lacks)] : []), ...reasons].join(" · ");
  item.className = `badge ${FUNCTION_TONE[state] ?? ""}`;
  item.dataset.function = name;
  item.textContent = word("functions", name);
  item.append(Object.assign(document.createElement("small"), { textContent: said }));
  return item;
}

function devices({ functions, alarms, components }) {
  at("functions-section").hidden = functions.length === 0;
  at("functions").replaceChildren(...functions.map(functionBadge));
  const open = alarms.map((alarm) => {
    const item = document.createElement("li");
    const when = new Date(alarm.since).toLocaleString(language === "zh" ? "zh-CN" : "en-GB");
    item.textContent = `${words.faults[alarm.code] ? word("faults", alarm.code) : alarm.title} · ${device(alarm.component)} · ${when}`;
    return item;
  });
  at("alarms").replaceChildren(...(open.length ? open : [Object.assign(document.createElement("li"), { textContent: text("none") })]));
  at("components").replaceChildren(
    ...components.map((part) => {
      const row = document.createElement("tr");
      row.title = part.name;
      for (const cell of [device(part.name), text(part.health), part.detail ? word("faults", part.detail) : ""]) row.insertCell().textContent = cell;
      return row;
    }),
  );
}

function link({ uplink }) {
  const online = uplink.server_online === true ? text("yes") : text(uplink.server_online === false ? "no" : "unknown");
  rows(at("uplink"), [
    [text("server"), online],
    [text("session"), String(uplink.session)],
    [text("queue"), `P0 ${uplink.queue.p0} · P1 ${uplink.queue.p1} · P2 ${uplink.queue.p2}`],
    [text("oldest"), span(uplink.queue.oldest_age_s)],
    [text("error"), uplink.last_error ?? text("none")],
  ]);
}

function machine(state) {
  const until = state.certificate_expires_at;
  const shown = Object.entries(UNITS).filter(([name]) => name in state.metrics);
  rows(at("machine"), [
    [text("version"), state.agent_version],
    [text("uptime"), span(state.uptime_s)],
    [text("offset"), state.clock_offset_s == null ? text("unknown") : `${state.clock_offset_s.toFixed(3)} s`],
    [text("certificate"), until ? new Date(until).toLocaleDateString(language === "zh" ? "zh-CN" : "en-GB") : text("none")],
    ...shown.map(([name, unit]) => [text(name), `${state.metrics[name].toFixed(1)} ${unit}`]),
  ]);
}

function show(known) {
  frame(known);
  devices(known.state);
  link(known.state);
  machine(known.state);
}

async function refresh() {
  try {
    words ??= await ask("/page/words.json");
    const [state, enrolment] = await Promise.all([ask("/api/v1/state"), ask("/api/v1/enrolment")]);
    last = { state, enrolment };
    at("stale").hidden = true;
    show(last);
  } catch (error) {
    if (String(error.message) === "401") location.reload(); // the agent was started again: its page has the new token
    at("stale").textContent = text("stale");
    at("stale").hidden = false;
  } finally {
    setTimeout(refresh, REFRESH_MS);
  }
}

at("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  if (last) show(last);
});
refresh();
