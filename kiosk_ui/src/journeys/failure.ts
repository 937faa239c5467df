/** What went wrong with a request, in a sentence for the patient; the platform's own detail is never shown. */
import { ApiProblem } from "@kiosk/web-kit/api/problem";

import { known, t } from "../i18n";

export function failureText(error: unknown): string {
  if (error instanceof ApiProblem && error.status === 422 && error.code === "invalid_request") return t("problem.not_understood");
  return error instanceof ApiProblem ? known("problem", error.code, "problem.other") : t("problem.unreachable");
}

export function problemCode(error: unknown): string | null {
  if (error instanceof ApiProblem && error.status === 422 && error.code === "invalid_request") return t("problem.not_understood");
  return error instanceof ApiProblem ? error.code : null;
}
