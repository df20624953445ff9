// A certificate authority of a test's own, and a certificate of it for the box.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
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

/** A certificate for the address, which only those take who trust `authority`; all in a new folder. */
export async function makeCertificates(address) {
  const folder = await mkdtemp(join(tmpdir(), "moss-certificates-"));
  const file = (name) => join(folder, name);
  await openssl(folder, "authority", "the authority of a browser test", ...extensions("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"));
  await openssl(
    folder, "box", "the box of a browser test",
    ...["-CA", file("authority.pem"), "-CAkey", file("authority.key")],
    ...extensions(`subjectAltName=IP:${address}`, "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth"),
  );
  return {
    authority: file("authority.pem"),
    certificate: file("box.pem"),
    key: file("box.key"),
    /** What Node's HTTPS server takes. */
    read: async () => ({ cert: await readFile(file("box.pem")), key: await readFile(file("box.key")) }),
    remove: () => rm(folder, { recursive: true }),
  };
}

/** Installs the authority as a person would, in the database of an NSS program: `folder` is made if it is not there. */
export async function trust(folder, authority) {
  await mkdir(folder, { recursive: true });
  await execute("certutil", ["-d", `sql:${folder}`, "-N", "--empty-password"]);
  await execute("certutil", ["-d", `sql:${folder}`, "-A", "-n", "moss browser test", "-t", "C,,", "-i", authority]);
}
