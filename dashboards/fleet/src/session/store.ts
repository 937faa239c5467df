/** Who is signed in. The session itself is a cookie no script can read. */
import { defineStore } from "pinia";
import { computed, ref } from "vue";

import { ApiProblem } from "@kiosk/web-kit/api/problem";

import { type Schemas, server, take } from "../server";

export type SessionState = "unknown" | "signed_in" | "signed_out" | "unreachable";

export const useSession = defineStore("session", () => {
  const me = ref<Schemas["Me"] | null>(null);
  const state = ref<SessionState>("unknown");
  const permissions = computed(() => new Set(me.value?.permissions ?? []));

  /** Ask the server; a server that does not answer signs nobody out. */
  async function load(): Promise<void> {
    try {
      me.value = await take(server.GET("/api/v1/auth/me"));
      state.value = "signed_in";
    } catch (error) {
      if (error instanceof ApiProblem && error.status === 401) end();
      else if (me.value === null) state.value = "unreachable";
    }
  }

  async function signIn(form: Schemas["LoginForm"]): Promise<void> {
    me.value = await take(server.POST("/api/v1/auth/login", { body: form }));
    state.value = "signed_in";
  }

  async function signOut(): Promise<void> {
    await take(server.POST("/api/v1/auth/logout"));
    end();
  }

  /** The session is over, whoever said so. */
  function end(): void {
    me.value = null;
    state.value = "signed_out";
  }

  return { me, state, can: (permission: string) => permissions.value.has(permission), load, signIn, signOut, end };
});
