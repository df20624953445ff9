/** Reads and writes as much of SDP as the fake RTCPeerConnection needs. */

export function write({ ufrag, fingerprint, version, setup, sections, candidates }) {
  const lines = ["v=0", `o=- ${fingerprint} ${version} IN IP4 127.0.0.1`, "s=-", "t=0 0"];
  lines.push(`a=group:BUNDLE ${sections.map(({ mid }) => mid).join(" ")}`);
  sections.forEach((section, i) => {
    const { kind, mid, direction } = section;
    lines.push(kind === "application" ? "m=application 9 UDP/DTLS/SCTP webrtc-datachannel" : `m=${kind} 9 UDP/TLS/RTP/SAVPF 96`);
    lines.push(`a=ice-ufrag:${ufrag}`, `a=ice-pwd:${ufrag}${"p".repeat(20)}`);
    lines.push(`a=fingerprint:sha-256 ${fingerprint}`, `a=setup:${setup}`, `a=mid:${mid}`);
    if (kind !== "application") lines.push(`a=${direction}`, "a=rtpmap:96 fake/90000");
    if (i === 0) lines.push(...candidates.map((candidate) => `a=${candidate}`));
  });
  return `${lines.join("\r\n")}\r\n`;
}

export function read(sdp) {
  if (typeof sdp !== "string" || !sdp.startsWith("v=0\r\n")) throw new DOMException("Failed to parse SDP", "OperationError");
  const found = { sections: [], candidates: [] };
  for (const line of sdp.split("\r\n")) {
    const section = found.sections.at(-1);
    const media = /^m=(audio|video|application) /.exec(line);
    if (media) found.sections.push({ kind: media[1], direction: "sendrecv" });
    else if (line.startsWith("a=ice-ufrag:")) found.ufrag = line.slice(12);
    else if (line.startsWith("a=fingerprint:sha-256 ")) found.fingerprint = line.slice(22);
    else if (line.startsWith("a=mid:") && section) section.mid = line.slice(6);
    else if (/^a=(sendrecv|sendonly|recvonly|inactive)$/.test(line) && section) section.direction = line.slice(2);
    else if (line.startsWith("a=candidate:")) found.candidates.push(line.slice(2));
  }
  const whole = found.ufrag && found.fingerprint && found.sections.length && found.sections.every(({ mid }) => mid !== undefined);
  if (!whole) throw new DOMException("SDP without ICE, DTLS or media", "OperationError");
  return found;
}

const SENDS = ["sendrecv", "sendonly"];
const RECEIVES = ["sendrecv", "recvonly"];

const sends = (direction) => SENDS.includes(direction);
export const receives = (direction) => RECEIVES.includes(direction);

function direction(send, receive) {
  if (send) return receive ? "sendrecv" : "sendonly";
  return receive ? "recvonly" : "inactive";
}

/** The same direction, seen from the other side. */
export const reverse = (of) => direction(receives(of), sends(of));

export const intersect = (a, b) => direction(sends(a) && sends(b), receives(a) && receives(b));
