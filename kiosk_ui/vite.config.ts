import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [vue()],
  base: "/kiosk/", // where the agent serves the build
  define: { __VUE_OPTIONS_API__: "false" },
  build: {
    target: "es2022",
    // A picture or font as a data: address would need a hole in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
