/** What can go wrong with a request, as two kinds: the server said no, or nobody answered. */

export interface ProblemDocument {
  status: number;
  code: string;
  title: string;
  detail?: string;
  request_id?: string;
  incident?: string;
  [member: string]: unknown;
}

/** The server answered with an RFC 9457 problem (or with something that is none: code `http_<status>`). */
export class ApiProblem extends Error {
  override readonly name = "ApiProblem";
  readonly status: number;
  readonly code: string;
  readonly detail: string | undefined;
  /** What to quote to the people who can look into the log. */
  readonly reference: string | undefined;
  readonly members: Readonly<Record<string, unknown>>;

  constructor(document: ProblemDocument) {
    super(`${document.status} ${document.code}: ${document.title}`);
    this.status = document.status;
    this.code = document.code;
    this.detail = document.detail;
    this.reference = document.incident ?? document.request_id;
    this.members = document;
  }
}

/** No answer came: no network, no server, or too late. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

/** Reads a problem out of a failed response's body, whatever the body is. */
export function problemOf(status: number, body: unknown): ApiProblem {
  if (typeof body === "object" && body !== null) {
    const { code, title } = body as Partial<ProblemDocument>;
    if (typeof code === "string" && typeof title === "string") {
      return new ApiProblem({ ...body, status, code, title });
    }
  }
  return new ApiProblem({ status, code: `http_${status}`, title: "The request failed" });
}
