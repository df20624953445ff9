/**
 * What ICE tells about the pair of candidates in use: whether it goes through a TURN server, and
 * milliseconds to the other side and back. Both are undefined while the browser names no pair.
 * @param {RTCPeerConnection} pc
 * @returns {Promise<{ relayed?: boolean, roundTripTime?: number }>}
 */
export async function measure(pc) {
  const report = await pc.getStats();
  const pair = chosen(report);
  if (!pair) return {};
  const isRelay = (/** @type {string} */ id) => report.get(id)?.candidateType === "relay";
  const seconds = pair.currentRoundTripTime;
  return {
    relayed: isRelay(pair.localCandidateId) || isRelay(pair.remoteCandidateId),
    roundTripTime: seconds === undefined ? undefined : seconds * 1000,
  };
}

/** Firefox has no transport report. @param {RTCStatsReport} report */
function chosen(report) {
  for (const { type, selectedCandidatePairId } of report.values())
    if (type === "transport" && selectedCandidatePairId) return report.get(selectedCandidatePairId);
  for (const pair of report.values()) if (pair.type === "candidate-pair" && (pair.selected ?? pair.nominated) && pair.state === "succeeded") return pair;
}
