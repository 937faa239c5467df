import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [vue()],
  test: {
    environment: "happy-dom",
    include: ["{web_kit,kiosk_ui,dashboards/*}/tests/**/*.test.ts"],
    clearMocks: true,
    testTimeout: 10_000,
  },
});
