/** A typed client of Trivet's REST API: paths, parameters, bodies and problems as the OpenAPI document has them. */
import createClient, { type Client } from "openapi-fetch";
import { Agent, fetch, Request } from "undici";

import type { paths } from "./schema.js";

export type * from "./schema.js";

/** Where Trivet is, and who asks. */
export interface Connection {
  /** The service, like `https://ca.example.org:8443`. */
  url: string;
  /** What the service's certificate is trusted by, PEM: `service-ca.crt`. */
  ca?: string;
  /** An access token, `trivet_…`. */
  token?: string;
  /** A certificate that this Trivet issued, PEM, and its key: to renew it, or to ask as its holder. */
  certificate?: string;
  key?: string;
}

/** Answers are JSON; for PEM ask with the header Accept and `parseAs: "text"`. */
export type TrivetClient = Client<paths, `application/${string}json`>;

/** Makes a client. It connects when it is first asked. */
export function connect({ url, ca, token, certificate, key }: Connection): TrivetClient {
  const dispatcher = new Agent({
    connect: { ...(ca && { ca }), ...(certificate && { cert: certificate }), ...(key && { key }) },
  });
  return createClient<paths, `application/${string}json`>({
    baseUrl: url,
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    // undici's own, as the built-in ones take no client certificate.
    fetch: ((request: Request) => fetch(request, { dispatcher })) as unknown as typeof globalThis.fetch,
    Request: Request as unknown as typeof globalThis.Request,
  });
}
