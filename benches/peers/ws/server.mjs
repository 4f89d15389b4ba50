// Plain ws with Redis pub/sub. The path of a client is its room; what it says goes through the room's Redis channel.
import { createServer } from "node:http";
import { createClient } from "redis";
import { WebSocket, WebSocketServer } from "ws";

// without the limit of 5 s for a command, above which a busy process would fail
const publisher = createClient({ url: process.env.REDIS_URL, commandOptions: { timeout: undefined } });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

/** The clients of each room of this process. */
const rooms = new Map();

async function enter(room, client) {
  const clients = rooms.get(room);
  if (clients) {
    clients.add(client);
    return;
  }
  rooms.set(room, new Set([client]));
  await subscriber.subscribe(room, (body) => broadcast(room, body));
}

function broadcast(room, body) {
  const bytes = Buffer.from(body);
  for (const client of rooms.get(room)) {
    if (client.readyState === WebSocket.OPEN) client.send(bytes, { binary: false });
  }
}

const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });

server.on("connection", async (client, request) => {
  const room = request.url;
  client.on("message", (body) => publisher.publish(room, body.toString()).catch(console.error));
  client.on("close", () => rooms.get(room).delete(client));
  client.on("error", console.error);
  await enter(room, client);
  client.send("joined");
});

http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(`ws://127.0.0.1:${http.address().port}`);
});
