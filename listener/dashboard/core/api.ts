import { signal } from "@preact/signals";

/** Asks the API that served this page. */

/** True while the API wants a key that the page does not have; the page then asks for one. */
export const needsKey = signal<false | "missing" | "refused">(false);

/** What the API said no to: its problem details (RFC 9457), or why it could not be reached. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** @throws ApiError with what the API says is wrong; its `status` is 0 where it could not be reached */
export async function ask<Answer>(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(`api/v1/${path}`, { credentials: "same-origin", ...init }).catch(() => {
    throw new ApiError(0, "the API does not answer");
  });
  if (response.status === 401) needsKey.value = "missing";
  if (response.status === 403) needsKey.value = "refused";
  if (!response.ok) throw new ApiError(response.status, await reasonOf(response));
  return (response.status === 204 ? undefined : await response.json()) as Answer;
}

/** Changes something. */
export const send = <Answer>(method: "POST" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<Answer> =>
  ask<Answer>(path, {
    method,
    ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });

async function reasonOf(response: Response): Promise<string> {
  const problem = (await response.json().catch(() => ({}))) as { detail?: string; title?: string };
  return problem.detail ?? problem.title ?? `the API answered ${response.status}`;
}

/** A query string; what is undefined or empty is left out. */
export function query(values: Record<string, string | number | undefined | null>): string {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length === 0 ? "" : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}
