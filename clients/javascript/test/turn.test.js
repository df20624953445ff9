import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { expiryOf, turnServers } from "../src/turn.js";

const urls = "turn:192.168.1.5:3478";
const good = { urls, secret: "a secret that coturn knows", key: "0123456789abcdef0123456789abcdef" };

test.beforeEach(() => mock.timers.enable({ apis: ["Date"], now: 1_800_000_000_000 }));
test.afterEach(() => {
  mock.restoreAll();
  mock.timers.reset();
});

// Expected values by: printf %s "$username" | openssl dgst -sha1 -hmac "$secret" -binary | base64
test("credentials are those that openssl makes", async () => {
  assert.deepEqual(await turnServers(good), [
    { urls, username: "1800003600:0123456789abcdef0123456789abcdef", credential: "rsHb3FFLVJMl3n0j9qq0ieVadew=" },
  ]);
});

test("text beyond ASCII counts as UTF-8", async () => {
  const [server] = await turnServers({ urls, secret: "Schlüssel", key: "jörg", lifetime: 60 });
  assert.equal(server.username, "1800000060:jörg");
  assert.equal(server.credential, "/BlCCt23QiP/VcyK+Nh9JHUbCvs=");
});

test("several URLs stay one server", async () => {
  const both = ["turn:192.168.1.5:3478", "turns:turn.example.org:5349?transport=tcp"];
  const servers = await turnServers({ ...good, urls: both });
  assert.deepEqual(servers.map((server) => server.urls), [both]);
});

test("a fractional lifetime gives whole seconds", async () => {
  assert.equal((await turnServers({ ...good, lifetime: 1.7 }))[0].username, `1800000002:${good.key}`);
});

for (const [what, options] of Object.entries({
  "no urls": { urls: undefined },
  "an empty list of urls": { urls: [] },
  "a url without its scheme": { urls: ["turn:192.168.1.5", "192.168.1.5:3478"] },
  "a scheme alone": { urls: "turn:" },
  "no secret": { secret: undefined },
  "an empty secret": { secret: "" },
  "no key": { key: undefined },
  "an empty key": { key: "" },
  "a lifetime that is over": { lifetime: 0 },
  "a lifetime that is a text": { lifetime: "3600" },
  "a lifetime that is no number": { lifetime: NaN },
  "a lifetime without end": { lifetime: Infinity },
}))
  test(`${what}: TypeError`, () => assert.rejects(turnServers({ ...good, ...options }), TypeError));

for (const [where, crypto] of Object.entries({ "a page from http:// on the LAN": {}, "an engine without WebCrypto": undefined }))
  test(`${where} gets an error that says why`, async () => {
    mock.getter(globalThis, "crypto", () => crypto);
    await assert.rejects(turnServers(good), /can't make TURN credentials: .* https:\/\/ or localhost/);
  });

test("the earliest expiry counts", async () => {
  const servers = [...(await turnServers(good)), { urls, username: "1800000100:x", credential: "" }, { urls: "stun:192.168.1.5" }];
  assert.equal(expiryOf(servers), 1_800_000_100_000);
});

for (const [what, servers] of Object.entries({
  "no list": undefined,
  "an empty list": [],
  "a name": [{ urls, username: "anna", credential: "x" }],
  "digits alone": [{ urls, username: "1800000000", credential: "x" }],
  "digits behind something": [{ urls, username: "x1800000000:anna", credential: "x" }],
}))
  test(`${what} names no expiry`, () => assert.equal(expiryOf(servers), undefined));
