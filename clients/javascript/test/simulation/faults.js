/** The faults, by name. Each ends after a while, or when the play's time of faults ends. */
export const FAULTS = {
  "connection reset": (play) => play.somePage()?.sockets.forEach((socket) => socket.wire.reset()),
  "connection silent": (play) => play.somePage()?.sockets.forEach((socket) => socket.wire.silence()),
  "moss killed": (play) => play.mossGone(() => play.moss.kill()),
  "moss's box lost": (play) => play.mossGone(() => play.moss.kill({ silent: true })),
  "moss stopped": (play) => play.mossGone(() => play.moss.stop()),
  "moss frozen": (play) => {
    if (!play.moss.up) return;
    play.moss.freeze();
    play.undo(1, 45, () => play.moss.frozen && play.moss.thaw());
  },
  blocked: (play) => {
    const [a, b] = [play.host.page, play.someGuest()?.page];
    if (!b) return;
    const types = play.random.chance(0.5) ? ["direct"] : ["direct", "relay"];
    for (const type of types) play.network.block(type, a, b);
    play.undo(1, 60, () => types.forEach((type) => play.network.unblock(type, a, b)));
  },
  offline: (play) => {
    const page = play.somePage();
    if (!page || page.offline) return;
    page.offline = true;
    play.world.networkChanged();
    play.undo(1, 60, () => play.online(page));
  },
  asleep: (play) => {
    const page = play.somePage();
    if (!page || page.offline || page.frozen) return;
    page.offline = play.random.chance(0.5);
    page.freeze();
    play.world.networkChanged();
    play.undo(1, 90, () => {
      play.online(page);
      page.thaw();
    });
  },
  "another network": (play) => {
    const page = play.somePage();
    if (!page) return;
    page.address += 1;
    for (const socket of page.sockets) socket.wire.silence();
    play.world.networkChanged();
  },
  "page reloaded": (play) => play.reload(play.someGuest()),
  "page closed": (play) => play.close(play.someGuest()),
  "page opened": (play) => play.guests.length < play.most && play.open(),
  "tab duplicated": (play) => play.guests.length < play.most && play.duplicate(play.someGuest()),
  "master reloaded": (play) => play.reloadMaster(play.random.chance(0.5) ? 0.5 : play.random.between(1, 40)),
  "master replaced": (play) => play.replaceMaster(),
  kicked: (play) => play.kick(),
};

/** Faults during which a line that is up must not end. */
export const SIGNALING = ["connection reset", "connection silent", "moss killed", "moss's box lost", "moss stopped", "moss frozen"];
