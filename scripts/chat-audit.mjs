#!/usr/bin/env node
// Chats over the public protocol and checks what every client received against what was acknowledged. Clients come
// back with their cursor after every disconnect, so instances may be stopped and killed meanwhile. Ends with 1 if
// anything was lost, duplicated or reordered, or if too few instances took part. Needs Node 20 and nothing else.
import { writeFileSync } from 'node:fs';
import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string', multiple: true, default: ['ws://127.0.0.1:8080/ws'] }, // clients take turns among several
    receivers: { type: 'string', default: '20' },
    senders: { type: 'string', default: '4' }, // they receive too
    rate: { type: 'string', default: '20' }, // messages a second, of each sender
    seconds: { type: 'string', default: '20' },
    instances: { type: 'string', default: '2' }, // that must have taken part
    ledger: { type: 'string' }, // file for what was acknowledged: id|seq, one message a line
  },
});
const senders = Number(options.senders);
const clients = senders + Number(options.receivers);
const room = `audit-${randomBytes(4).toString('hex')}`;

const text = 0x1, binary = 0x2, close = 0x8, ping = 0x9, pong = 0xa;
const lost = 1006; // the close code of a connection that ended without one

/** The client side of RFC 6455, without extensions. `onClose` is called once, with a close code and a reason. */
class WebSocket {
  #socket;
  #input = Buffer.alloc(0);
  #fragments = [];
  #accept;
  #open = false;
  #closed = false;
  #onMessage;
  #onClose;

  constructor(url, onOpen, onMessage, onClose) {
    const { hostname, port, host, pathname } = new URL(url);
    const key = randomBytes(16).toString('base64');
    this.#accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    this.#onMessage = onMessage;
    this.#onClose = onClose;
    this.#socket = connect({ host: hostname, port: Number(port) || 80, noDelay: true });
    this.#socket.on('connect', () => this.#socket.write([
      `GET ${pathname} HTTP/1.1`, `Host: ${host}`, 'Connection: Upgrade', 'Upgrade: websocket',
      `Sec-WebSocket-Key: ${key}`, 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Protocol: hubbub.v1', '', '',
    ].join('\r\n')));
    this.#socket.on('data', (chunk) => {
      this.#input = Buffer.concat([this.#input, chunk]);
      if (!this.#open && this.#upgraded()) onOpen();
      while (this.#open && !this.#closed && this.#frame());
    });
    this.#socket.on('error', (error) => this.#end(lost, error.message));
    this.#socket.on('close', () => this.#end(lost, 'connection lost'));
  }

  send(message) {
    this.#write(text, Buffer.from(message));
  }

  close() {
    this.#write(close, Buffer.from([1000 >> 8, 1000 & 0xff]));
  }

  #upgraded() {
    const end = this.#input.indexOf('\r\n\r\n');
    if (end < 0) return false;
    const [status, ...headers] = this.#input.toString('latin1', 0, end).split('\r\n');
    this.#input = this.#input.subarray(end + 4);
    this.#open = status.split(' ')[1] === '101' && headers.some((line) => line.endsWith(` ${this.#accept}`));
    if (!this.#open) this.#end(lost, status);
    return this.#open;
  }

  /** Takes one whole frame off the input, if there is one. */
  #frame() {
    const input = this.#input;
    if (input.length < 2) return false;
    const short = input[1] & 0x7f;
    const start = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (input.length < start) return false;
    const length = short < 126 ? short : short === 126 ? input.readUInt16BE(2) : Number(input.readBigUInt64BE(2));
    if (input.length < start + length) return false;
    const payload = input.subarray(start, start + length);
    this.#input = input.subarray(start + length);

    const opcode = input[0] & 0x0f;
    if (opcode === ping) {
      this.#write(pong, payload);
    } else if (opcode === close) {
      this.#write(close, payload.subarray(0, 2));
      this.#end(length < 2 ? 1005 : payload.readUInt16BE(0), payload.toString('utf8', 2));
    } else if (opcode <= binary) {
      this.#fragments.push(payload);
      const whole = input[0] & 0x80;
      if (whole) this.#onMessage(Buffer.concat(this.#fragments.splice(0)).toString());
    }
    return true;
  }

  #write(opcode, payload) {
    const mask = randomBytes(4);
    const header = payload.length < 126 ? Buffer.from([0, payload.length]) : Buffer.from([0, 126, 0, 0]);
    if (payload.length >= 126) header.writeUInt16BE(payload.length, 2);
    header[0] = 0x80 | opcode;
    header[1] |= 0x80;
    this.#socket.write(Buffer.concat([header, mask, payload.map((byte, i) => byte ^ mask[i % 4])]));
  }

  #end(code, reason) {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.end();
    this.#onClose(code, reason);
  }
}

const acked = new Map(); // message id -> seq, of every client
const instances = new Set();
const refusals = new Set(); // what no client should ever be told

class Client {
  received = new Map(); // message id -> seq
  pending = new Map(); // message id -> frame, until it is acknowledged
  live = false;
  duplicated = 0;
  reordered = 0;
  resets = 0;
  reconnects = 0;
  #url;
  #name;
  #session = randomBytes(16).toString('base64url');
  #cursor;
  #socket;
  #attempts = 0;
  #pause; // asked for by the server before it closes
  #leaving = false;

  constructor(number) {
    this.#url = options.url[number % options.url.length];
    this.#name = `audit ${number}`;
    this.#connect();
  }

  publish() {
    const id = randomBytes(12).toString('base64url');
    const frame = JSON.stringify({ type: 'publish', id, room, body: `message ${id} from ${this.#name}` });
    this.pending.set(id, frame);
    if (this.live) this.#socket.send(frame);
  }

  leave() {
    this.#leaving = true;
    if (this.live) this.#socket.close();
  }

  #connect() {
    const resume = this.#cursor === undefined ? undefined : { seq: this.#cursor };
    const hello = { type: 'hello', name: this.#name, session: this.#session, rooms: [room], resume };
    this.#socket = new WebSocket(
      this.#url,
      () => this.#socket.send(JSON.stringify(hello)),
      (frame) => this.#heard(JSON.parse(frame)),
      (code, reason) => this.#closed(code, reason),
    );
  }

  #closed(code, reason) {
    this.live = false;
    if (this.#leaving) return;
    const final = [1002, 1003, 1007, 1009].includes(code) || code >= 4500;
    if (final) {
      refusals.add(`closed with ${code} ${reason}`);
      return;
    }
    if (this.#cursor !== undefined) this.reconnects += 1;
    const backoff = Math.min(2000, 100 * 2 ** this.#attempts) * (0.5 + Math.random() / 2);
    setTimeout(() => this.#connect(), this.#pause ?? backoff);
    this.#attempts += 1;
    this.#pause = undefined;
  }

  #heard(frame) {
    switch (frame.type) {
      case 'welcome':
        instances.add(frame.instance);
        this.#cursor ??= frame.seq;
        break;
      case 'live': // own messages that were replayed are acknowledged by now; the rest goes out again
        this.live = true;
        this.#attempts = 0;
        for (const pending of this.pending.values()) this.#socket.send(pending);
        break;
      case 'message':
        this.#message(frame);
        break;
      case 'ack':
        this.#acknowledged(frame.id, frame.seq);
        break;
      case 'heartbeat':
        this.#cursor = Math.max(this.#cursor, frame.seq);
        break;
      case 'drain':
        this.#pause = frame.reconnect_after_ms;
        break;
      case 'reset':
        this.resets += 1;
        this.#cursor = Math.max(this.#cursor, frame.seq);
        break;
      case 'error':
        this.#refused(frame);
        break;
    }
  }

  #message({ seq, id, was }) {
    if (this.received.has(id)) {
      if (was === undefined) this.duplicated += 1;
    } else {
      this.received.set(id, seq);
      if (seq <= this.#cursor) this.reordered += 1;
      if (this.pending.has(id)) this.#acknowledged(id, seq);
    }
    this.#cursor = Math.max(this.#cursor, seq);
  }

  #acknowledged(id, seq) {
    this.pending.delete(id);
    acked.set(id, seq);
  }

  #refused({ code, detail, id, retry_after_ms: pause }) {
    if (pause === undefined) {
      refusals.add(`${code}: ${detail}`);
      return;
    }
    setTimeout(() => {
      const frame = this.pending.get(id);
      if (frame && this.live) this.#socket.send(frame);
    }, pause);
  }
}

async function until(condition, seconds) {
  const deadline = Date.now() + seconds * 1000;
  while (!condition() && Date.now() < deadline && refusals.size === 0) await sleep(50);
  return condition();
}

const all = Array.from({ length: clients }, (_, number) => new Client(number));
const sum = (count) => all.reduce((total, client) => total + count(client), 0);
if (!(await until(() => all.every((client) => client.live), 60))) {
  console.log(`only ${sum((client) => Number(client.live))} of ${clients} clients got in`, ...refusals);
  process.exit(1);
}
console.log(`${clients} clients are chatting through ${[...instances].join(', ')}`);

const timers = all.slice(0, senders).map((client) => setInterval(() => client.publish(), 1000 / Number(options.rate)));
await sleep(Number(options.seconds) * 1000);
timers.forEach(clearInterval);

const missing = (client) => [...acked.keys()].filter((id) => !client.received.has(id)).length;
await until(() => all.every((client) => client.live && client.pending.size === 0 && missing(client) === 0), 30);
await sleep(1000); // for what should not come any more
all.forEach((client) => client.leave());

if (options.ledger) writeFileSync(options.ledger, [...acked].map(([id, seq]) => `${id}|${seq}\n`).join(''));

const unacked = sum((client) => client.pending.size);
const found = {
  lost: sum(missing),
  duplicated: sum((client) => client.duplicated),
  reordered: sum((client) => client.reordered),
  resets: sum((client) => client.resets),
};
console.log(`${acked.size} messages acknowledged, ${unacked} not; ${sum((client) => client.reconnects)} reconnects`);
console.log(`instances: ${[...instances].join(', ')}`);
console.log(Object.entries(found).map(([what, count]) => `${what} ${count}`).join(', '));
refusals.forEach((refusal) => console.log(`refused: ${refusal}`));
const good = unacked + refusals.size === 0 && acked.size > 0 && Object.values(found).every((count) => count === 0);
process.exit(good && instances.size >= Number(options.instances) ? 0 : 1);
