/** The sections of the navigation, and what a person has to be allowed to read for each. */
const READS = {
  fleet: "kiosks.read",
  incidents: "incidents.read",
  orders: "orders.read",
  duty: "incidents.read",
  sla: "sla.read",
  enrolment: "kiosks.enrol",
  audit: "audit.read",
} as const;
export type Section = keyof typeof READS;

/** The sections somebody may see, the first of them is where they begin. */
export function sectionsFor(can: (permission: string) => boolean): Section[] {
  return (Object.keys(READS) as Section[]).filter((section) => can(READS[section]));
}
