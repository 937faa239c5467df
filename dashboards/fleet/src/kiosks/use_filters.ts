import { computed } from "vue";
import { type RouteLocationRaw, useRoute, useRouter } from "vue-router";

import { type Filters, filterQuery, parseFilters } from "./filters";

/** The filters of the address, and ways to change it. */
export function useFilters() {
  const route = useRoute();
  const router = useRouter();
  const filters = computed(() => parseFilters(route.query));

  return {
    filters,
    /** Changes the address in place: going back leaves the page. */
    change: (change: Partial<Filters>) =>
      router.replace({ query: filterQuery({ ...filters.value, ...change }), hash: route.hash }),
    /** Where the same page with other filters is. */
    link: (change: Partial<Filters>): RouteLocationRaw => ({
      name: "fleet",
      query: filterQuery({ ...filters.value, ...change }),
    }),
  };
}
