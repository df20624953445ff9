// Time-limited credentials for a TURN server, as coturn checks them with `use-auth-secret`.

/**
 * Makes the ICE servers for one member. Only for masters: anyone who has the secret can make
 * credentials for anybody.
 *
 * @param {object} options
 * @param {string | string[]} options.urls such as `"turn:192.168.1.5:3478"`
 * @param {string} options.secret coturn's `static-auth-secret`
 * @param {string} options.key the member's key: coturn counts its quota for each key
 * @param {number} [options.lifetime] seconds
 * @returns {Promise<{ urls: string | string[], username: string, credential: string }[]>}
 */
export async function turnServers({ urls, secret, key, lifetime = 3600 }) {
  check({ urls, secret, key, lifetime });
  const username = `${Math.round(Date.now() / 1000 + lifetime)}:${key}`;
  return [{ urls, username, credential: await sign(secret, username) }];
}

/**
 * When the first of these servers' credentials expires, in milliseconds since 1970. Undefined if no
 * username begins with a time, of ten digits or more: `42:bob` may be an ordinary name.
 *
 * @param {{ username?: string }[]} [iceServers]
 * @returns {number | undefined}
 */
export function expiryOf(iceServers) {
  const times = (iceServers ?? []).map(({ username = "" }) => /^(\d{10,}):/.exec(username)?.[1]).filter(Boolean);
  return times.length ? Math.min(...times.map(Number)) * 1000 : undefined;
}

/** @param {{ urls: unknown, secret: unknown, key: unknown, lifetime: unknown }} options */
function check({ urls, secret, key, lifetime }) {
  const list = Array.isArray(urls) ? urls : [urls];
  if (!list.length || !list.every((url) => /^(stun|turn)s?:./i.test(url)))
    throw new TypeError('turnServers needs urls such as "turn:192.168.1.5:3478".');
  if (typeof secret !== "string" || !secret) throw new TypeError("turnServers needs the TURN server's secret.");
  if (typeof key !== "string" || !key) throw new TypeError("turnServers needs the member's key.");
  if (typeof lifetime !== "number" || !(lifetime >= 1 && lifetime < Infinity))
    throw new TypeError("turnServers needs a lifetime of at least one second.");
}

/**
 * HMAC-SHA1 as base64. All TURN servers use SHA-1; in an HMAC it is still safe.
 *
 * @param {string} secret
 * @param {string} text
 */
async function sign(secret, text) {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle)
    throw new Error("This page can't make TURN credentials: browsers allow it only to pages from https:// or localhost.");
  const bytes = (/** @type {string} */ from) => new TextEncoder().encode(from);
  const key = await subtle.importKey("raw", bytes(secret), { name: "HMAC", hash: "SHA-1" }, false, ["sign"]);
  const signature = await subtle.sign("HMAC", key, bytes(text));
  return btoa(String.fromCharCode(...new Uint8Array(signature)));
}
