/** One request of a screen: its answer, that it is still open, or why there is none, with a way to try again. */
import { onMounted, ref, type Ref, shallowRef } from "vue";

import { failureText } from "./failure";
import { useKiosk } from "./kiosk";

export interface Loading<T> {
  data: Readonly<Ref<T | null>>;
  isLoading: Readonly<Ref<boolean>>;
  failure: Readonly<Ref<string | null>>;
  load: () => Promise<void>;
}

export function useLoading<T>(ask: (signal: AbortSignal) => Promise<T>): Loading<T> {
  const signal = useKiosk().screenSignal;
  const data = shallowRef<T | null>(null);
  const isLoading = ref(true);
  const failure = ref<string | null>(null);

  async function load(): Promise<void> {
    isLoading.value = true;
    failure.value = null;
    try {
      data.value = await ask(signal);
    } catch (error) {
      if (!signal.aborted) failure.value = failureText(error);
    } finally {
      isLoading.value = false;
    }
  }

  onMounted(() => void load());
  return { data, isLoading, failure, load };
}
