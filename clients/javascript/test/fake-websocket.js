/** A fake WebSocket with all that Signaling uses, and what moss does to one. Each test makes its own class. */
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

    /** How Node 22 reports that an attempt failed. */
    fail() {
      this.readyState = 3;
      this.onerror?.({ message: "refused" });
    }
  };
}
