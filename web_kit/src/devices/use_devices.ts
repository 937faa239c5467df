import { onScopeDispose, readonly, type Ref, shallowRef } from "vue";

import type { Observable } from "./observable";

/** An observable as a reactive value, for as long as the component lives. */
export function useObservable<T>(observable: Observable<T>): Readonly<Ref<T>> {
  const value = shallowRef(observable.value) as Ref<T>;
  onScopeDispose(observable.subscribe((now) => (value.value = now)));
  return readonly(value) as Readonly<Ref<T>>;
}
