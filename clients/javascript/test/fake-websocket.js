/** What Signaling may use of a WebSocket, and what moss does to one. A class of its own for each test. */
export function fakeWebSocket() {
  return class FakeWebSocket {
    static all = [];
    static get last() {
      return this.all.at(-1);
    }

    readyState = 0;
    sent = [];

    constructor(address) {
      this.address = address;
      this.constructor.all.push(this);
    }

    send(text) {
      if (this.readyState !== 1) throw new Error("sent by a WebSocket that is not open");
      this.sent.push(JSON.parse(text));
    }

    close() {
      this.readyState = 2;
      this.closed = true;
    }

    open() {
      this.readyState = 1;
      this.onopen();
    }

    receive(type, payload = "", id = undefined) {
      this.text(JSON.stringify({ type, payload, id }));
    }

    text(data) {
      this.onmessage?.({ data });
    }

    end(code = 1006, reason = "") {
      this.readyState = 3;
      this.onclose?.({ code, reason });
    }

    /** As Node 22 tells that nothing could be connected. */
    fail() {
      this.readyState = 3;
      this.onerror?.({ message: "refused" });
    }
  };
}
