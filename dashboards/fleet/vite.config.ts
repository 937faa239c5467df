import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

/** In development the pages come from Vite and everything else from a running fleet server. */
const FLEET_SERVER = "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [vue()],
  define: {
    __VUE_OPTIONS_API__: "true", // Element Plus still has components written so
    __VUE_I18N_FULL_INSTALL__: "false",
    __VUE_I18N_LEGACY_API__: "false",
  },
  build: {
    target: "es2022",
    // A picture or font as a data: address would need a hole in the content security policy.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 800, // the charts
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: { "/api": { target: FLEET_SERVER, ws: true } },
  },
});
