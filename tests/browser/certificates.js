// Certificates for the box: from a test's own certificate authority, or self-signed.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);

const openssl = (folder, name, subject, ...extensions) =>
  execute("openssl", [
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -config /dev/null".split(" "),
    ...["-keyout", join(folder, `${name}.key`), "-out", join(folder, `${name}.pem`), "-subj", `/CN=${subject}`],
    ...extensions,
  ]);
const extensions = (...values) => values.flatMap((value) => ["-addext", value]);

const forServers = ["basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth"];

/** Makes a certificate and a key in a new folder, by `make`, whose result is added to theirs. */
async function inNewFolder(make) {
  const folder = await mkdtemp(join(tmpdir(), "moss-certificates-"));
  const file = (name) => join(folder, name);
  const more = await make(folder, file);
  return { certificate: file("box.pem"), key: file("box.key"), remove: () => rm(folder, { recursive: true }), ...more };
}

/** A certificate for the address, signed by `authority`. */
export const makeCertificates = (address) =>
  inNewFolder(async (folder, file) => {
    await openssl(folder, "authority", "the authority of a browser test", ...extensions("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"));
    await openssl(
      folder, "box", "the box of a browser test",
      ...["-CA", file("authority.pem"), "-CAkey", file("authority.key")],
      ...extensions(`subjectAltName=IP:${address}`, "keyUsage=critical,digitalSignature", ...forServers),
    );
    return { authority: file("authority.pem") };
  });

/** A self-signed certificate for the address, as in docs/https-in-the-lan.md. */
export const makeSelfSigned = (address) =>
  inNewFolder(async (folder) => {
    await openssl(folder, "box", "moss", ...extensions(`subjectAltName=DNS:box.local,IP:${address}`, ...forServers));
  });

/** Installs the authority in an NSS database, as a person would. Makes `folder` if it does not exist. */
export async function trust(folder, authority) {
  await mkdir(folder, { recursive: true });
  await execute("certutil", ["-d", `sql:${folder}`, "-N", "--empty-password"]);
  await execute("certutil", ["-d", `sql:${folder}`, "-A", "-n", "moss browser test", "-t", "C,,", "-i", authority]);
}
