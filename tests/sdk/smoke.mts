// What somebody does with the TypeScript SDK, against a service: run with its URL, its folder and a cluster.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { connect, type Certificate, type ProblemType, type RenewRevocation } from "trivet-client";

const [url, folder, cluster] = process.argv.slice(2) as [string, string, string];
const ca = readFileSync(join(folder, ".trivet/client/service-ca.crt"), "utf8");
const token = readFileSync(join(folder, ".trivet/client/admin.token"), "utf8").trim();
const trivet = connect({ url, ca, token });
const place = { path: { cluster } };

function csr(name: string): string {
  const files = ["-keyout", join(folder, `${name}.key`), "-out", join(folder, `${name}.csr`)];
  const kind = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split(" ");
  execFileSync("openssl", [...kind, "-subj", `/O=system:nodes/CN=system:node:${name}`, ...files]);
  return readFileSync(join(folder, `${name}.csr`), "utf8");
}

async function issue(name: string): Promise<Certificate> {
  const { data, error } = await trivet.POST("/api/v1/clusters/{cluster}/certificates", {
    params: place,
    body: { profile: "kubelet-client", csr: csr(name) },
  });
  if (error) throw new Error(error.detail);
  return data;
}

async function list(): Promise<string[][]> {
  const pages: string[][] = [];
  let cursor: string | undefined;
  do {
    const { data, error } = await trivet.GET("/api/v1/clusters/{cluster}/certificates", {
      params: { ...place, query: { status: "valid", limit: 2, ...(cursor && { cursor }) } },
    });
    if (error) throw new Error(error.detail);
    pages.push(data.items.map((certificate) => certificate.serialNumber));
    cursor = data.next ?? undefined;
  } while (cursor);
  return pages;
}

async function renew(certificate: Certificate, name: string): Promise<Certificate> {
  const key = readFileSync(join(folder, `${name}.key`), "utf8");
  const holder = connect({ url, ca, certificate: certificate.certificate, key });
  const { data, error } = await holder.POST("/api/v1/clusters/{cluster}/certificates/renew", {
    params: place,
    body: { csr: csr(name) },
  });
  if (error) throw new Error(error.detail);
  return data;
}

const certificate = await issue("typescript-1");
await issue("typescript-2");
await issue("typescript-3");
const pages = await list();
const successor = await renew(certificate, "typescript-1");

const revocation: RenewRevocation = {
  apiVersion: "certificates.microsoft.com/v1",
  kind: "RenewRevocation",
  metadata: { name: "stolen" },
  spec: { revocations: [{ kind: "CommonName", commonName: "system:node:typescript-1" }] },
};
const revocations = "/api/v1/clusters/{cluster}/renew-revocations";
const preview = await trivet.POST(revocations, { params: { ...place, query: { dryRun: "All" } }, body: revocation });
if (!preview.data || !("count" in preview.data)) throw new Error("no preview");
const made = await trivet.POST(revocations, { params: place, body: revocation });
if (!made.data || !("metadata" in made.data)) throw new Error("no object");

const refused = await trivet.POST("/api/v1/clusters/{cluster}/certificates", {
  params: place,
  body: { profile: "kubelet-client", csr: csr("typescript-1") },
});
const revoked: ProblemType = "urn:trivet:problem:revoked";
if (refused.error?.type !== revoked) throw new Error("not refused");
console.log(
  JSON.stringify({
    pages: pages.map((page) => page.length),
    "was listed": pages.flat().includes(certificate.serialNumber),
    "is new": successor.serialNumber !== certificate.serialNumber,
    "would hit": preview.data.count,
    made: made.data.metadata.name,
    refused: [refused.error.status, refused.error.detail !== "", refused.error.decision !== undefined],
  }),
);
