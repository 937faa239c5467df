import { WORDS } from "./words.js";

/* What the page itself says; names of devices, facts and actions come from the lab. */

const TEXTS = {
  "zh-CN": {
    title: "设备实验室",
    people: "证件、卡号、人名均为编造",
    online: "已连接",
    offline: "未连接，正在重试",
    unlinked: "未连接",
    other: "English",
    log: "操作记录",
    noLog: "还没有操作。",
    noToken: "请使用 kiosk-sim lab run 打印的完整网址打开本页（网址中带有令牌，实验室每次启动都不同）。",
    noKiosks: "实验室里没有自助机。",
    faults: "故障…",
    close: "关闭",
    run: "执行",
    options: "选项",
    unplugged: "线已拔",
    plugged: "已连接",
    troubled: "线路故障",
    alarmed: "设备告警",
    absent: "不可用",
    group_patient: "患者",
    group_staff: "工作人员",
    group_wear: "设备故障",
    group_link: "线路",
    port: "端口",
    waiting: "线路故障",
    armed: "已设故障",
    receipt: "第 {n} 张凭条",
    printing: "正在打印…",
    noReceipt: "还没有凭条",
    newer: "后一张",
    older: "前一张",
    enlarge: "放大凭条",
    text: "文字",
    noReports: "还没有作业",
    pages: "{printed}/{pages} 页",
    devices: "{n} 个设备",
    troubles: "{n} 个异常",
    allWell: "全部正常",
    yes: "是",
    no: "否",
    done: "{name}：{action}",
    unreachable: "实验室没有应答，请确认它仍在运行。",
    preview: "摄像头看到的画面：{scene}",
    noPreview: "没有画面",
    states: {
      pending: "排队", processing: "打印中", stopped: "已暂停", canceled: "已取消", aborted: "已中止", completed: "完成",
    },
  },
  en: {
    title: "Device lab",
    people: "Documents, card numbers and names are made up",
    online: "Connected",
    offline: "Not connected, trying again",
    unlinked: "Not connected",
    other: "中文",
    log: "What happened",
    noLog: "Nothing was done yet.",
    noToken: "Open this page with the whole address that kiosk-sim lab run prints: the token is part of it, and new at each start.",
    noKiosks: "There is no kiosk in this lab.",
    faults: "Faults…",
    close: "Close",
    run: "Do it",
    options: "Options",
    unplugged: "Unplugged",
    plugged: "Connected",
    troubled: "Faulty link",
    alarmed: "Device alarm",
    absent: "Not available",
    group_patient: "Patient",
    group_staff: "Staff",
    group_wear: "The device fails",
    group_link: "The link",
    port: "Port",
    waiting: "Faults of the link",
    armed: "Fault set",
    receipt: "Receipt {n}",
    printing: "Printing…",
    noReceipt: "No receipt yet",
    newer: "Newer",
    older: "Older",
    enlarge: "Enlarge the receipt",
    text: "Text",
    noReports: "No job yet",
    pages: "{printed} of {pages} pages",
    devices: "{n} devices",
    troubles: "{n} in trouble",
    allWell: "all well",
    yes: "yes",
    no: "no",
    done: "{name}: {action}",
    unreachable: "The lab does not answer: is it still running?",
    preview: "What the camera sees: {scene}",
    noPreview: "No picture",
    states: {
      pending: "queued", processing: "printing", stopped: "stopped", canceled: "cancelled", aborted: "aborted",
      completed: "done",
    },
  },
};

let language = localStorage.getItem("language") === "en" ? "en" : "zh-CN";

export function isChinese() {
  return language !== "en";
}

export function currentLanguage() {
  return language;
}

/* The other language from now on. */
export function switchLanguage() {
  language = isChinese() ? "en" : "zh-CN";
  localStorage.setItem("language", language);
}

/* A text of the page with its values put in. */
export function text(key, values = {}) {
  const found = TEXTS[language][key] ?? key;
  return Object.entries(values).reduce((said, [name, value]) => said.replace(`{${name}}`, String(value)), found);
}

/* A word of the lab's tables, or the word as it is. */
export function wordText(word) {
  return WORDS[word]?.[isChinese() ? 0 : 1] ?? String(word);
}

/* Several words of the lab's tables in one string, with commas or blanks between. */
export function wordsText(words) {
  return String(words).split(/,? /).map(wordText).join(isChinese() ? "、" : ", ");
}

export function stateText(state) {
  return TEXTS[language].states[state] ?? state;
}

/* The label of something the lab named in both languages. */
export function label(row) {
  return isChinese() ? row.zh : row.en;
}
