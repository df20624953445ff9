export { Signaling } from "./signaling.js";
