import { ref } from "vue";

/** The page's one clock, once a second, on the scale of `performance.now()`. */
const nowMs = ref(performance.now());

export function useNow() {
  return { nowMs };
}

/** Starts the clock; `each` runs after every tick. */
export function startClock(each: () => void): () => void {
  const timer = setInterval(() => {
    nowMs.value = performance.now();
    each();
  }, 1_000);
  return () => clearInterval(timer);
}
