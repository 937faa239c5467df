/** Light or dark: what was chosen here before, else what the system prefers. */
import { ref } from "vue";

const STORAGE_KEY = "scheme";
export const isDark = ref(false);

export function applyScheme(): void {
  const stored = localStorage.getItem(STORAGE_KEY);
  show(stored === null ? matchMedia("(prefers-color-scheme: dark)").matches : stored === "dark");
}

export function toggleScheme(): void {
  show(!isDark.value);
  localStorage.setItem(STORAGE_KEY, isDark.value ? "dark" : "light");
}

function show(dark: boolean): void {
  isDark.value = dark;
  document.documentElement.classList.toggle("dark", dark);
}
