/** The pages and who may see them: everybody signed in, except the pages that lead there. */
import { createRouter, createWebHistory, type RouteRecordRaw, type Router } from "vue-router";

import FleetPage from "./pages/FleetPage.vue";
import SignInPage from "./pages/SignInPage.vue";
import { sectionsFor } from "./session/sections";
import { useSession } from "./session/store";

declare module "vue-router" {
  interface RouteMeta {
    /** Needs no session. */
    isPublic?: boolean;
    /** The entry of the navigation this page belongs to, and the key of its title. */
    section?: string;
  }
}

const routes: RouteRecordRaw[] = [
  { path: "/", name: "fleet", component: FleetPage, meta: { section: "fleet" } },
  {
    path: "/kiosks/:kid",
    name: "kiosk",
    component: () => import("./pages/KioskPage.vue"),
    props: true,
    meta: { section: "fleet" },
  },
  {
    path: "/enrolment",
    name: "enrolment",
    component: () => import("./pages/EnrolmentPage.vue"),
    meta: { section: "enrolment" },
  },
  {
    path: "/incidents",
    name: "incidents",
    component: () => import("./pages/IncidentsPage.vue"),
    meta: { section: "incidents" },
  },
  {
    path: "/incidents/:id",
    name: "incident",
    component: () => import("./pages/IncidentPage.vue"),
    props: true,
    meta: { section: "incidents" },
  },
  { path: "/orders", name: "orders", component: () => import("./pages/OrdersPage.vue"), meta: { section: "orders" } },
  {
    path: "/orders/:id",
    name: "order",
    component: () => import("./pages/OrderPage.vue"),
    props: true,
    meta: { section: "orders" },
  },
  { path: "/duty", name: "duty", component: () => import("./pages/DutyPage.vue"), meta: { section: "duty" } },
  { path: "/sla", name: "sla", component: () => import("./pages/SlaPage.vue"), meta: { section: "sla" } },
  { path: "/audit", name: "audit", component: () => import("./pages/AuditPage.vue"), meta: { section: "audit" } },
  { path: "/sign-in", name: "sign-in", component: SignInPage, meta: { isPublic: true } },
  {
    path: "/first-admin",
    name: "first-admin",
    component: () => import("./pages/FirstAdminPage.vue"),
    meta: { isPublic: true },
  },
  { path: "/ack", name: "ack", component: () => import("./pages/AckPage.vue"), meta: { isPublic: true } },
  {
    path: "/recover",
    name: "recover",
    component: () => import("./pages/RecoverPage.vue"),
    meta: { isPublic: true },
  },
  { path: "/:path(.*)*", name: "not-found", component: () => import("./pages/NotFoundPage.vue") },
];

export function makeRouter(): Router {
  const router = createRouter({ history: createWebHistory(), routes });
  router.beforeEach(async (to) => {
    if (to.meta.isPublic === true) return true;
    const session = useSession();
    if (session.state !== "signed_in") await session.load();
    const first = sectionsFor(session.can)[0];
    if (session.state === "signed_in" && to.name === "fleet" && first !== undefined && first !== "fleet") return { name: first };
    if (session.state !== "signed_out") return true; // an unreachable server is shown by the application itself
    return { name: "sign-in", query: to.fullPath === "/" ? {} : { next: to.fullPath } };
  });
  return router;
}
