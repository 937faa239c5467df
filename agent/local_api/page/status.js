// The engineer's view of one kiosk: asks the local API every two seconds and shows what it says.
const REFRESH_MS = 2000;
const TEXTS = {
  zh: {
    maintenance: "现场维护", pairing: "登记配对码", alarms: "当前告警", components: "部件", uplink: "与管理服务器的连接", machine: "主机",
    none: "无", hint: (s) => `请工程师在管理页面输入此码（${s} 秒内有效）`, stale: "代理程序没有应答，以下内容可能已过时",
    not_enrolled: "未登记", enrolling: "等待登记", connecting: "正在连接", connected: "已连接", refused: "被拒绝", offline: "离线",
    ok: "正常", degraded: "降级", faulted: "故障", silent: "无数据", unknown: "未知",
    session: "会话", epoch: "记录批次", queue: "待发记录", oldest: "最早待发", server: "服务器", error: "最近错误",
    yes: "在线", no: "离线", version: "版本", uptime: "代理已运行", offset: "时钟偏差", certificate: "证书到期",
    cpu_percent: "处理器", memory_percent: "内存", disk_percent: "磁盘", temperature_c: "温度",
  },
  en: {
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
const UNITS = { cpu_percent: "%", memory_percent: "%", disk_percent: "%", temperature_c: "°C" };
const token = document.querySelector('meta[name="api-token"]').content;
let language = "zh";
let last = null;

const text = (key) => TEXTS[language][key] ?? key;
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

function show({ state, enrolment }) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const heading of document.querySelectorAll("[data-text]")) heading.textContent = text(heading.dataset.text);
  at("language").textContent = language === "zh" ? "English" : "中文";
  at("kid").textContent = state.kid ?? (language === "zh" ? "自助机" : "Kiosk");
  const link = at("link");
  link.textContent = text(state.uplink.state);
  link.className = `badge ${LINK_TONE[state.uplink.state] ?? ""}`;
  at("pairing").hidden = !enrolment.pairing_code;
  at("code").textContent = enrolment.pairing_code ?? "";
  at("code-hint").textContent = text("hint")(Math.round(enrolment.expires_in_s ?? 0));
  const alarms = state.alarms.map((alarm) => {
    const item = document.createElement("li");
    item.textContent = `${alarm.title} · ${alarm.component} · ${new Date(alarm.since).toLocaleString()}`;
    return item;
  });
  at("alarms").replaceChildren(...(alarms.length ? alarms : [document.createTextNode(text("none"))]));
  at("components").replaceChildren(
    ...state.components.map((part) => {
      const row = document.createElement("tr");
      for (const cell of [part.name, text(part.health), part.detail ?? ""]) row.insertCell().textContent = cell;
      return row;
    }),
  );
  const { uplink } = state;
  rows(at("uplink"), [
    [text("server"), uplink.server_online === null || uplink.server_online === undefined ? text("unknown") : text(uplink.server_online ? "yes" : "no")],
    [text("session"), String(uplink.session)],
    [text("queue"), `P0 ${uplink.queue.p0} · P1 ${uplink.queue.p1} · P2 ${uplink.queue.p2}`],
    [text("oldest"), `${Math.round(uplink.queue.oldest_age_s)} s`],
    [text("error"), uplink.last_error ?? text("none")],
  ]);
  rows(at("machine"), [
    [text("version"), state.agent_version],
    [text("uptime"), `${Math.round(state.uptime_s)} s`],
    [text("offset"), state.clock_offset_s == null ? text("unknown") : `${state.clock_offset_s.toFixed(3)} s`],
    [text("certificate"), state.certificate_expires_at ? new Date(state.certificate_expires_at).toLocaleDateString() : text("none")],
    ...Object.entries(UNITS)
      .filter(([name]) => name in state.metrics)
      .map(([name, unit]) => [text(name), `${state.metrics[name].toFixed(1)} ${unit}`]),
  ]);
}

async function refresh() {
  try {
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
