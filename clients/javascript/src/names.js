/** 128 random bits as text. (`crypto.randomUUID` exists only in secure contexts.) */
export const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** @typedef {{ offer: string, clientLeft: string, kick: string, masterLeft: string, error: string }} Types */

/** The packet types that moss is started with: by default those of the README's first command.
 *  @type {Types} */
export const TYPES = { offer: "master-offer", clientLeft: "client-left", masterLeft: "master-left", kick: "kick", error: "moss-error" };

const HELLO_BYTES = 4000;

/** The length as JSON; infinite if it can't be written as JSON, or is nested too deeply. @param {unknown} value */
export function bytesOf(value) {
  try {
    return new TextEncoder().encode(JSON.stringify(value) ?? "").length;
  } catch {
    return Infinity;
  }
}

/** Whether it is short enough for a hello. @param {unknown} hello */
export const isHello = (hello) => bytesOf(hello) <= HELLO_BYTES;

/** Whether it is valid as a key, a life, a call or a session. @param {unknown} text @returns {text is string} */
export const isName = (text) => typeof text === "string" && text.length > 0 && text.length <= 64;
