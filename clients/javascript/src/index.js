/**
 * The library for moss, the many-to-one signaling server: `Client` and `Master` keep a WebRTC
 * connection up, also while moss is down; `Signaling` is only the connection to moss.
 */
export { Client } from "./client.js";
export { Master } from "./master.js";
export { Member } from "./member.js";
export { Signaling } from "./signaling.js";
export { turnServers } from "./turn.js";

/**
 * @typedef {import("./client.js").ClientOptions} ClientOptions
 * @typedef {import("./master.js").MasterOptions} MasterOptions
 * @typedef {import("./peer.js").Path} Path
 * @typedef {import("./signaling.js").Packet} Packet
 * @typedef {import("./signaling.js").Problem} Problem
 * @typedef {import("./signaling.js").SignalingOptions} SignalingOptions
 * @typedef {import("./signaling.js").Status} Status
 */
