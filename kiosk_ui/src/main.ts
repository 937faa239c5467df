import "@kiosk/web-kit/tokens.css";
import "@kiosk/web-kit/base.css";
import "./styles/kiosk.css";

import { createApp } from "vue";

import { connectDevices, pageToken } from "@kiosk/web-kit/devices/browser";
import { browserEnvironment } from "@kiosk/web-kit/live/browser";

import App from "./App.vue";
import { Devices } from "./device/devices";
import { Kiosk, KIOSK } from "./journeys/kiosk";
import { leftOrders, leftSearch } from "./left";
import { Platform } from "./platform/client";

const platform = new Platform({ token: pageToken(document), onReached: (isReached) => kiosk.reached(isReached) });
const kiosk = new Kiosk({
  platform,
  devices: new Devices(connectDevices(), browserEnvironment),
  environment: browserEnvironment,
  page: {
    left: leftOrders(location.search),
    replace: (left) => location.replace(location.pathname + leftSearch(left)),
    wallMs: () => Date.now(),
  },
});

for (const name of ["contextmenu", "dragstart", "copy", "cut", "selectstart"]) {
  document.addEventListener(name, (event) => event.preventDefault());
}

kiosk.start();
createApp(App).provide(KIOSK, kiosk).mount("#app");
