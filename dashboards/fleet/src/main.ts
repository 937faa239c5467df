import "./element";
import "@kiosk/web-kit/tokens.css";
import "@kiosk/web-kit/base.css";
import "@kiosk/web-kit/element.css";

import { QueryClient, VueQueryPlugin } from "@tanstack/vue-query";
import { createPinia } from "pinia";
import { createApp } from "vue";

import { ApiProblem } from "@kiosk/web-kit/api/problem";

import App from "./App.vue";
import { chooseLocale, i18n, initialLocale } from "./i18n";
import { makeRouter } from "./router";
import { applyScheme } from "./scheme";

applyScheme();
chooseLocale(initialLocale(localStorage), localStorage);

const RETRIES = 2;
const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      networkMode: "always", // the server is on the hospital's network: what the browser thinks of the internet says nothing
      retry: (count, error) => !(error instanceof ApiProblem && error.status < 500) && count < RETRIES,
    },
    mutations: { networkMode: "always" },
  },
});

createApp(App).use(createPinia()).use(i18n).use(VueQueryPlugin, { queryClient }).use(makeRouter()).mount("#app");
