// The websocket: says what is held, hears the session's facts, comes back by itself.

const RETRY_MS = 1500;
const HEARTBEAT_MS = 100;
const MAX_WAITING = 4096; // bytes in the send buffer: beyond them motions are stale, so none is added
const CLOSED_BUSY = 4001;
const CLOSED_REFUSED = 1008;

export class Link {
  // onReport(report), onState(state, reason) with state "on", "off", "busy" or "refused".
  constructor(onReport, onState) {
    this.onReport = onReport;
    this.onState = onState;
    this.sentAt = 0;
    this.open();
  }

  open() {
    const address = new URL("socket", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    this.seq = 0;
    this.socket.onmessage = (message) => {
      const report = JSON.parse(message.data);
      const { t_ms: sent, held_ms: held, seq } = report.heard;
      this.latencyMs = seq < 0 ? null : Math.max(0, performance.now() - sent - held);
      this.onState("on", "");
      this.onReport(report);
    };
    this.socket.onclose = ({ code, reason }) => {
      const states = { [CLOSED_BUSY]: "busy", [CLOSED_REFUSED]: "refused" };
      this.onState(states[code] ?? "off", reason);
      setTimeout(() => this.open(), RETRY_MS);
    };
  }

  isDue() {
    return performance.now() - this.sentAt >= HEARTBEAT_MS;
  }

  // Send a command; false where it cannot be sent now.
  send(command) {
    if (this.socket.readyState !== WebSocket.OPEN || this.socket.bufferedAmount > MAX_WAITING) return false;
    this.sentAt = performance.now();
    this.socket.send(JSON.stringify({ seq: this.seq++, t_ms: this.sentAt, ...command }));
    return true;
  }
}
